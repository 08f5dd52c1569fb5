//! Builds go where what they need is.

use gradient_domain::{Epoch, FailureKind, Job, WorkerId};
use gradient_scheduler::{Event, NewBuild, WorkerCapabilities};

use crate::fixture::{Bench, ORGANIZATION, Outcome, build_job, machine, new_build, seconds, serves, worker};

const LARGE: u64 = 1 << 30;
const SMALL: u64 = 1 << 20;

fn made(bench: &mut Bench, n: u128, by: WorkerId, bytes: u64) -> Outcome {
    bench.apply(Event::JobFinished { job: build_job(n), epoch: Epoch(1), worker: by, bytes })
}

fn owner(bench: &Bench, job: Job) -> WorkerId {
    bench.scheduler.workers().find(|view| view.jobs.iter().any(|owned| owned.job == job)).unwrap().worker
}

#[test]
fn where_the_largest_input_is() {
    for largest in 1..=3 {
        let mut bench = Bench::new();
        for n in 1..=3 {
            bench.connect(n, 1);
        }
        bench.evaluated(1, (1..=3).map(|n| new_build(n, &[])).chain([new_build(100, &[1, 2, 3])]).collect());
        let owners = [1, 2, 3].map(|n| owner(&bench, build_job(n)));
        for n in 1..=3 {
            made(&mut bench, n, owners[n as usize - 1], if n == largest { LARGE } else { SMALL });
        }
        assert_eq!(owner(&bench, build_job(100)), owners[largest as usize - 1]);
    }
}

#[test]
fn not_where_they_failed() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.connect(2, 1);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[1])]);
    let first = owner(&bench, build_job(1));
    assert_eq!(made(&mut bench, 1, first, LARGE).assigned(), [(build_job(2), Epoch(1), first)]);
    bench.apply(Event::JobFailed { job: build_job(2), epoch: Epoch(1), worker: first, kind: FailureKind::Transient });
    bench.pass(seconds(60));
    assert_ne!(owner(&bench, build_job(2)), first);
}

/// A machine that has fetched an input of this size is free, and another one with more free slots that has nothing: which one gets a
/// build that needs the input.
fn chosen_beside_a_free_machine(bytes: u64) -> WorkerId {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    let virtual_machine = NewBuild { features: vec!["kvm".to_owned()], ..new_build(3, &[]) };
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[1]), virtual_machine, new_build(4, &[1, 3])]);
    // Who made it takes nothing more.
    bench.apply(Event::WorkerDraining { worker: worker(1) });
    made(&mut bench, 1, worker(1), bytes);
    assert_eq!(bench.connect(2, 1).assigned_builds(), [2]);
    made(&mut bench, 2, worker(2), 0);
    assert_eq!(bench.connect(3, 2).assigned_builds(), []);
    let rare = WorkerCapabilities { features: vec!["kvm".to_owned()], ..machine(1) };
    let organizations = vec![serves(ORGANIZATION)];
    bench.apply(Event::WorkerConnected { worker: worker(4), organizations, capabilities: rare, running: vec![] });
    made(&mut bench, 3, worker(4), 0);
    owner(&bench, build_job(4))
}

#[test]
fn where_the_input_was_fetched_to() {
    assert_eq!(chosen_beside_a_free_machine(LARGE), worker(2));
}

#[test]
fn where_most_is_free_when_there_is_little_to_fetch() {
    assert_eq!(chosen_beside_a_free_machine(SMALL), worker(3));
}

#[test]
fn where_it_is_not_known_any_more_nobody_looks() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[1])]);
    bench.apply(Event::WorkerDraining { worker: worker(1) });
    made(&mut bench, 1, worker(1), LARGE);
    // Another evaluation needs only what waits, and the first one is gone with what has ended.
    bench.evaluated(2, vec![new_build(2, &[1])]);
    bench.abort(1, true);
    assert_eq!(bench.connect(2, 1).assigned_builds(), [2]);
}
