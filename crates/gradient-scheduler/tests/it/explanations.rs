//! Why builds wait.

use std::time::Duration;

use gradient_domain::{BuildStatus, BuildWait, Epoch};
use gradient_scheduler::{BuildState, Event, NewBuild, NewEvaluation, Stage};

use crate::fixture::{
    Bench, ORGANIZATION, build, build_job, evaluation, machine, new_build, new_evaluation, organization, seconds, serves, worker,
};

fn explain(bench: &Bench, n: u128) -> Option<BuildWait> {
    bench.scheduler.explain_build(build(n), bench.moment(), bench.now)
}

#[test]
fn for_dependencies_that_have_not_ended() {
    let mut bench = Bench::new();
    bench.connect(1, 2);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[]), new_build(3, &[1, 2])]);
    assert_eq!(explain(&bench, 3), Some(BuildWait::Dependencies { builds: vec![build(1), build(2)] }));
    bench.finish(crate::fixture::build_job(1), 1, 1);
    assert_eq!(explain(&bench, 3), Some(BuildWait::Dependencies { builds: vec![build(2)] }));
    assert_eq!((explain(&bench, 1), explain(&bench, 2), explain(&bench, 99)), (None, None, None));
}

#[test]
fn for_at_most_twenty_named_dependencies() {
    let mut bench = Bench::new();
    let mut builds: Vec<NewBuild> = (1..=30).map(|n| new_build(n, &[])).collect();
    builds.push(new_build(31, &(1..=30).collect::<Vec<_>>()));
    bench.evaluated(1, builds);
    assert!(matches!(explain(&bench, 31), Some(BuildWait::Dependencies { builds }) if builds.len() == 20));
}

#[test]
fn for_workers_that_are_not_there_or_leave() {
    let mut bench = Bench::new();
    let kvm = NewBuild { features: vec!["kvm".into()], ..new_build(1, &[]) };
    bench.evaluated(1, vec![kvm, new_build(2, &[])]);
    let wait = |features: &[&str]| BuildWait::Workers {
        architecture: "x86_64-linux".to_owned(),
        required_features: features.iter().map(|&feature| feature.to_owned()).collect(),
    };
    assert_eq!((explain(&bench, 1), explain(&bench, 2)), (Some(wait(&["kvm"])), Some(wait(&[]))));
    bench.connect(1, 0);
    assert_eq!(explain(&bench, 2), Some(wait(&[])));
    bench.evaluated(2, vec![new_build(3, &[])]);
    bench.connect(2, 1);
    bench.apply(Event::WorkerDraining { worker: worker(2) });
    assert_eq!(explain(&bench, 3), Some(BuildWait::Draining));
}

#[test]
fn for_a_slot_with_the_place_in_the_queue() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.evaluated(1, (1..=3).map(|n| new_build(n, &[])).collect());
    let builtin = NewBuild { system: "builtin".into(), ..new_build(4, &[]) };
    bench.evaluated(2, vec![builtin]);
    let place = |n| match explain(&bench, n) {
        Some(BuildWait::Slots { position, .. }) => Some(position),
        _ => None,
    };
    assert_eq!([1, 2, 3, 4].map(place), [None, Some(0), Some(1), Some(2)]);
}

/// The place in the queue, and the seconds until it is reached: as expected, at least, at most.
fn turn(bench: &Bench, n: u128) -> (u32, Option<[u64; 3]>) {
    match explain(bench, n) {
        Some(
            BuildWait::Slots { position, eta_secs, eta_min_secs, eta_max_secs }
            | BuildWait::Share { position, eta_secs, eta_min_secs, eta_max_secs },
        ) => (position, eta_secs.zip(eta_min_secs).zip(eta_max_secs).map(|((expected, least), most)| [expected, least, most])),
        other => panic!("{other:?}"),
    }
}

fn takes(n: u128, secs: u64) -> NewBuild {
    NewBuild { expected: seconds(secs), ..new_build(n, &[]) }
}

#[test]
fn for_a_slot_with_the_time_until_it_is_free() {
    let mut bench = Bench::new();
    bench.connect(1, 2);
    bench.evaluated(1, vec![takes(1, 400), takes(2, 300), takes(3, 200), takes(4, 100)]);
    assert_eq!((turn(&bench, 3), turn(&bench, 4)), ((0, Some([300, 150, 600])), (1, Some([400, 200, 800]))));
    bench.apply(Event::JobStarted { job: build_job(1), epoch: Epoch(1), worker: worker(1) });
    bench.pass(seconds(160));
    // The second has not begun, as far as anybody has said.
    assert_eq!(turn(&bench, 3), (0, Some([240, 40, 600])));
    bench.pass(seconds(800));
    // It runs for 960 s, so that nobody knows when it ends: not at once.
    assert_eq!(turn(&bench, 3).1, Some([120, 60, 240]));
}

#[test]
fn for_a_slot_without_a_time_when_nothing_is_known() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.evaluated(1, vec![new_build(1, &[]), takes(2, 10)]);
    assert_eq!(turn(&bench, 2), (0, None));
}

#[test]
fn for_a_slot_while_others_have_less_than_their_share() {
    const OTHER: u128 = 2;
    let mut bench = Bench::new();
    bench.apply(Event::CachesChanged { organization: organization(OTHER), writable: true });
    bench.apply(Event::WorkerConnected {
        worker: worker(1),
        organizations: vec![serves(ORGANIZATION), serves(OTHER)],
        capabilities: machine(2),
        running: vec![],
    });
    bench.evaluated(1, (1..=10).map(|n| takes(n, 60)).collect());
    let others = (21..=30).map(|n| NewBuild { organization: organization(OTHER), ..takes(n, 60) }).collect();
    bench.all([
        Event::EvaluationAdded(NewEvaluation { organization: organization(OTHER), ..new_evaluation(2, Stage::Build) }),
        Event::BuildsAdded { evaluation: evaluation(2), builds: others },
        Event::EvaluationSealed { evaluation: evaluation(2), had_errors: false },
    ]);
    // Both slots are the first one's: the other has two before it, and one between two of its.
    let places = [3, 4, 5, 21, 22].map(|n| turn(&bench, n).0);
    assert_eq!(places, [2, 4, 6, 0, 1]);
    let for_share = [3, 4, 21].map(|n| matches!(explain(&bench, n), Some(BuildWait::Share { .. })));
    assert_eq!(for_share, [true, false, false], "the next one of who has had more");
    bench.apply(Event::ShareChanged { organization: organization(OTHER), weight: 200 });
    assert_eq!([3, 4].map(|n| turn(&bench, n).0), [4, 7]);
}

/// The seconds until an evaluation is done: as expected, at least, at most.
fn estimate(bench: &mut Bench, n: u128) -> Option<[u64; 3]> {
    let estimate = bench.scheduler.estimate_evaluation(evaluation(n), bench.now)?;
    Some([estimate.expected_secs, estimate.least_secs, estimate.most_secs])
}

#[test]
fn an_evaluation_takes_as_long_as_its_longest_chain_and_as_all_of_it_on_all_slots() {
    let mut bench = Bench::new();
    bench.evaluated(1, vec![takes(1, 100), NewBuild { expected: seconds(60), ..new_build(2, &[1]) }]);
    assert_eq!(estimate(&mut bench, 1), None, "nobody builds it");
    bench.connect(1, 4);
    assert_eq!(estimate(&mut bench, 1), Some([160, 80, 320]));
    bench.apply(Event::JobStarted { job: build_job(1), epoch: Epoch(1), worker: worker(1) });
    bench.pass(seconds(40));
    assert_eq!(estimate(&mut bench, 1), Some([120, 40, 280]));
    bench.finish(build_job(1), 1, 1);
    assert_eq!(estimate(&mut bench, 1), Some([60, 30, 120]));

    bench.evaluated(2, (10..30).map(|n| takes(n, 20)).collect());
    // 400 s on four slots; the first one's may have to wait for those that have not begun, which are seventeen.
    assert_eq!(estimate(&mut bench, 2), Some([100, 50, 200]));
    assert_eq!(estimate(&mut bench, 1).unwrap()[2], 170);
    assert_eq!(estimate(&mut bench, 3), None);
}

#[test]
fn an_evaluation_of_unknown_builds_has_no_estimate_and_one_that_is_not_complete() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[1])]);
    assert_eq!(estimate(&mut bench, 1), None);
    bench.apply(Event::EvaluationAdded(new_evaluation(2, Stage::Evaluate)));
    bench.apply(Event::BuildsAdded { evaluation: evaluation(2), builds: vec![takes(3, 5)] });
    assert_eq!(estimate(&mut bench, 2), None);
}

/// What is known of a thousand builds and more is remembered for a while, so that to ask again costs next to nothing.
#[test]
fn an_estimate_of_many_builds_follows_what_happens_soon() {
    let mut bench = Bench::new();
    bench.connect(1, 10);
    bench.evaluated(1, (1..=10_000).map(|n| takes(n, 10)).collect());
    assert_eq!(estimate(&mut bench, 1), Some([10_000, 5_000, 20_000]));
    // They take no time at all.
    for n in 1..=5_000 {
        bench.finish(build_job(n), 1, 1);
    }
    bench.now = bench.now.plus(Duration::from_millis(50));
    assert_eq!(estimate(&mut bench, 1).unwrap()[0], 10_000);
    // What is known of workers counts at once.
    bench.connect(2, 10);
    assert_eq!(estimate(&mut bench, 1).unwrap()[0], 5_000);
    bench.lose(1);
    bench.lose(2);
    assert_eq!(estimate(&mut bench, 1), None);
    bench.connect(3, 10);
    bench.now = bench.now.plus(Duration::from_millis(50));
    assert_eq!(estimate(&mut bench, 1).unwrap()[0], 5_000);
    bench.now = bench.now.plus(Duration::from_millis(99));
    assert_eq!(estimate(&mut bench, 1).unwrap()[1], 2_500);
}

#[test]
fn while_a_build_of_many_is_left_it_takes_a_moment() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    let done = |n| NewBuild { state: BuildState::Ended(BuildStatus::Completed), ..takes(n, 1) };
    let mut builds: Vec<NewBuild> = (1..=2_000).map(done).collect();
    builds.push(NewBuild { expected: Duration::from_millis(10), ..new_build(2_001, &[]) });
    bench.evaluated(1, builds);
    assert_eq!(estimate(&mut bench, 1), Some([1, 1, 1]));
    bench.now = bench.now.plus(Duration::from_millis(19));
    assert_eq!(estimate(&mut bench, 1), Some([1, 1, 1]));
}
