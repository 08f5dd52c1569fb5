//! Random graphs and random histories: whatever happens, the rules hold and everything ends.

use gradient_domain::{FailureKind, Job, Shortage};
use gradient_scheduler::Decision;
use proptest::{collection::vec, prelude::*};

use crate::world::{Derivation, ORGANIZATIONS, World};

#[derive(Debug, Clone)]
enum Action {
    Request { owner: usize, root: usize, priority: i32 },
    Evaluate { pick: usize, count: usize },
    Finish { pick: usize },
    Fail { pick: usize, kind: FailureKind },
    Stop { pick: usize },
    Repeat { pick: usize },
    Abort { pick: usize, stop_running: bool },
    Connect { pick: usize, forgets: bool },
    Lose { pick: usize },
    Drain { pick: usize },
    Short { pick: usize, of: Option<Shortage> },
    Deliver { pick: usize, usable: bool },
    Cache { owner: usize, writable: bool },
    Pass { secs: u64 },
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    let pick = || 0..1000_usize;
    let kind = prop::sample::select(vec![
        FailureKind::Permanent,
        FailureKind::Timeout,
        FailureKind::Transient,
        FailureKind::Transient,
        FailureKind::WorkerUnfit,
        FailureKind::InputsMissing,
        FailureKind::Aborted,
    ]);
    prop_oneof![
        4 => (0..ORGANIZATIONS, pick(), -2..3).prop_map(|(owner, root, priority)| Action::Request { owner, root, priority }),
        4 => (pick(), 1..6_usize).prop_map(|(pick, count)| Action::Evaluate { pick, count }),
        12 => pick().prop_map(|pick| Action::Finish { pick }),
        4 => (pick(), kind).prop_map(|(pick, kind)| Action::Fail { pick, kind }),
        2 => pick().prop_map(|pick| Action::Stop { pick }),
        2 => pick().prop_map(|pick| Action::Repeat { pick }),
        2 => (pick(), any::<bool>()).prop_map(|(pick, stop_running)| Action::Abort { pick, stop_running }),
        4 => (pick(), prop::bool::weighted(0.3)).prop_map(|(pick, forgets)| Action::Connect { pick, forgets }),
        2 => pick().prop_map(|pick| Action::Lose { pick }),
        1 => pick().prop_map(|pick| Action::Drain { pick }),
        2 => (pick(), prop::sample::select(vec![None, Some(Shortage::Memory), Some(Shortage::Disk)]))
            .prop_map(|(pick, of)| Action::Short { pick, of }),
        6 => (pick(), prop::bool::weighted(0.8)).prop_map(|(pick, usable)| Action::Deliver { pick, usable }),
        1 => (0..ORGANIZATIONS, any::<bool>()).prop_map(|(owner, writable)| Action::Cache { owner, writable }),
        3 => prop::sample::select(vec![1, 10, 200, 400]).prop_map(|secs| Action::Pass { secs }),
        1 => Just(Action::Restart),
    ]
}

fn run(derivations: &[Derivation], actions: &[Action]) -> Vec<Decision> {
    let mut world = World::new(derivations.to_vec());
    for action in actions {
        let running = world.running();
        let pick_running = |pick: usize| running.get(pick % running.len().max(1)).copied();
        match *action {
            Action::Request { owner, root, priority } => world.request(owner, root, priority),
            Action::Evaluate { pick, count } => {
                let evaluating: Vec<_> = running.iter().filter(|(job, ..)| matches!(job, Job::Evaluate(_))).collect();
                if let Some(&&job) = evaluating.get(pick % evaluating.len().max(1)) {
                    world.evaluate(job, count);
                }
            }
            Action::Finish { pick } => pick_running(pick).into_iter().for_each(|job| world.finish(job)),
            Action::Fail { pick, kind } => pick_running(pick).into_iter().for_each(|job| world.fail(job, kind)),
            Action::Stop { pick } => world.stop_one(pick),
            Action::Repeat { pick } => world.repeat(pick),
            Action::Abort { pick, stop_running } => world.abort(pick, stop_running),
            Action::Connect { pick, forgets } => world.connect(pick, forgets),
            Action::Lose { pick } => world.lose(pick),
            Action::Drain { pick } => world.drain(pick),
            Action::Short { pick, of } => world.run_short(pick, of),
            Action::Deliver { pick, usable } => pick_running(pick).into_iter().for_each(|job| world.deliver(job, usable)),
            Action::Cache { owner, writable } => world.set_cache(owner, writable),
            Action::Pass { secs } => world.pass(secs),
            Action::Restart => world.restart(),
        }
    }
    world.heal();
    world.log
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_rules_hold_and_everything_ends(
        derivations in vec(any::<Derivation>(), 1..12),
        actions in vec(action(), 1..120),
    ) {
        let log = run(&derivations, &actions);
        prop_assert_eq!(log, run(&derivations, &actions), "the same history leads to the same decisions");
    }
}
