//! Who gets what, and in which order.

use std::time::Duration;

use gradient_domain::{BuildWait, Epoch, EvaluationWait, FailureKind, Job, Priority, Shortage};
use gradient_scheduler::{Event, NewBuild, NewEvaluation, Stage, WorkerCapabilities, WorkerOrganization};

use crate::fixture::{
    Bench, ORGANIZATION, build, build_job, evaluation, machine, new_build, new_evaluation, organization, seconds, serves, worker,
};

fn connect(bench: &mut Bench, n: u128, capabilities: WorkerCapabilities) -> Vec<u128> {
    let event =
        Event::WorkerConnected { worker: worker(n), organizations: vec![serves(ORGANIZATION)], capabilities, running: vec![] };
    bench.apply(event).assigned_builds()
}

#[test]
fn dependencies_come_first() {
    let mut bench = Bench::new();
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[]), new_build(3, &[1, 2])]);
    assert_eq!(bench.connect(1, 8).assigned_builds(), [1, 2]);
    assert_eq!(bench.finish(build_job(1), 1, 1).assigned_builds(), []);
    assert_eq!(bench.finish(build_job(2), 1, 1).assigned_builds(), [3]);
}

#[test]
fn no_more_builds_than_slots() {
    let mut bench = Bench::new();
    bench.evaluated(1, (1..=5).map(|n| new_build(n, &[])).collect());
    assert_eq!(bench.connect(1, 2).assigned_builds(), [1, 2]);
    assert_eq!(bench.finish(build_job(2), 1, 1).assigned_builds(), [3]);
    assert_eq!(bench.connect(2, 1).assigned_builds(), [4]);
    let grown = Event::WorkerChanged { worker: worker(2), organizations: vec![serves(ORGANIZATION)], capabilities: machine(9) };
    assert_eq!(bench.apply(grown).assigned_builds(), [5]);
}

#[test]
fn builds_go_to_the_worker_with_the_most_free_slots() {
    let mut bench = Bench::new();
    bench.connect(1, 2);
    bench.connect(2, 3);
    let assigned = bench.evaluated(1, (1..=5).map(|n| new_build(n, &[])).collect()).assigned();
    let per_worker = |n| assigned.iter().filter(|(.., by)| *by == worker(n)).count();
    assert_eq!(assigned[0].2, worker(2));
    assert_eq!((per_worker(1), per_worker(2)), (2, 3));
}

#[test]
fn a_worker_with_rare_features_is_kept_for_what_needs_them() {
    let mut bench = Bench::new();
    connect(&mut bench, 1, WorkerCapabilities { features: vec!["kvm".into()], ..machine(4) });
    connect(&mut bench, 2, machine(1));
    let kvm = |build| NewBuild { features: vec!["kvm".into()], ..build };
    let builds = vec![new_build(1, &[]), new_build(2, &[]), kvm(new_build(3, &[]))];
    let assigned = bench.evaluated(1, builds).assigned();
    let by: Vec<_> = assigned.into_iter().map(|(job, _, by)| (job, by)).collect();
    // What does not fit elsewhere any more goes there all the same.
    assert_eq!(by, [(build_job(1), worker(2)), (build_job(2), worker(1)), (build_job(3), worker(1))]);
}

#[test]
fn rare_features_come_first_when_all_that_needs_them_takes_longer() {
    let first = |expected| {
        let mut bench = Bench::new();
        let takes = |secs, build| NewBuild { expected: seconds(secs), ..build };
        let kvm = |n| takes(10, NewBuild { features: vec!["kvm".into()], ..new_build(n, &[]) });
        bench.evaluated(1, vec![takes(expected, new_build(1, &[])), kvm(2), kvm(3)]);
        connect(&mut bench, 1, WorkerCapabilities { features: vec!["kvm".into()], ..machine(1) })
    };
    assert_eq!(first(19), [2]);
    assert_eq!(first(21), [1]);
}

#[test]
fn a_worker_that_is_soon_needed_gets_something_short() {
    let mut bench = Bench::new();
    connect(&mut bench, 1, WorkerCapabilities { features: vec!["kvm".into()], ..machine(1) });
    connect(&mut bench, 2, machine(9));
    let mut builds: Vec<_> = (1..=12).map(|n| NewBuild { expected: seconds(100 - n), ..new_build(n.into(), &[]) }).collect();
    builds.push(NewBuild { features: vec!["kvm".into()], ..new_build(13, &[1]) });
    assert_eq!(bench.evaluated(1, builds).assigned_builds(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 12]);
}

#[test]
fn a_worker_needs_system_and_features() {
    let mut bench = Bench::new();
    let kvm = NewBuild { features: vec!["big-parallel".into(), "kvm".into()], ..new_build(1, &[]) };
    let arm = NewBuild { system: "aarch64-linux".into(), ..new_build(2, &[]) };
    let builtin = NewBuild { system: "builtin".into(), ..new_build(3, &[]) };
    bench.evaluated(1, vec![kvm, arm, builtin]);
    assert_eq!(connect(&mut bench, 1, machine(4)), [3]);
    let kvm_only = WorkerCapabilities { features: vec!["kvm".into()], ..machine(4) };
    assert_eq!(connect(&mut bench, 2, kvm_only), []);
    let features = vec!["nixos-test".into(), "kvm".into(), "big-parallel".into()];
    assert_eq!(connect(&mut bench, 3, WorkerCapabilities { features, ..machine(4) }), [1]);
    let systems = vec!["aarch64-linux".into()];
    assert_eq!(connect(&mut bench, 4, WorkerCapabilities { systems, ..machine(4) }), [2]);
}

#[test]
fn a_worker_serves_its_organizations_with_its_kinds() {
    let mut bench = Bench::new();
    bench.evaluated(1, vec![new_build(1, &[])]);
    bench.apply(Event::EvaluationAdded(new_evaluation(2, Stage::Fetch)));
    let connect =
        |n, organizations| Event::WorkerConnected { worker: worker(n), organizations, capabilities: machine(4), running: vec![] };
    assert_eq!(bench.apply(connect(1, vec![serves(2)])).assigned(), []);
    let fetches = WorkerOrganization { kinds: vec![gradient_domain::JobKind::Fetch], ..serves(ORGANIZATION) };
    let assigned = bench.apply(connect(2, vec![serves(2), fetches])).assigned();
    assert_eq!(assigned, [(Job::Fetch(evaluation(2)), Epoch(1), worker(2))]);
}

#[test]
fn one_fetch_and_one_evaluation_beside_the_builds() {
    let mut bench = Bench::new();
    bench.evaluated(1, vec![new_build(1, &[])]);
    for n in [2, 3] {
        bench.apply(Event::EvaluationAdded(new_evaluation(n, Stage::Fetch)));
    }
    let begun = bench.connect(1, 1).assigned();
    assert_eq!(begun.iter().map(|&(job, ..)| job).collect::<Vec<_>>(), [build_job(1), Job::Fetch(evaluation(2))]);
    let next = bench.finish(Job::Fetch(evaluation(2)), 1, 1).assigned();
    let next: Vec<_> = next.into_iter().map(|(job, ..)| job).collect();
    assert_eq!(next, [Job::Fetch(evaluation(3)), Job::Evaluate(evaluation(2))]);
    assert_eq!(bench.finish(Job::Fetch(evaluation(3)), 1, 1).assigned(), []);
}

#[test]
fn a_draining_worker_takes_nothing_new() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[])]);
    bench.apply(Event::WorkerDraining { worker: worker(1) });
    assert_eq!(bench.finish(build_job(1), 1, 1).assigned(), []);
    assert!(bench.scheduler.workers().all(|worker| worker.draining && worker.jobs.is_empty()));
}

#[test]
fn a_worker_that_is_short_of_something_takes_nothing_until_it_is_not() {
    let mut bench = Bench::new();
    bench.connect(1, 2);
    bench.apply(Event::WorkerShort { worker: worker(1), shortage: Some(Shortage::Disk) });
    let waits = bench.evaluated(1, vec![new_build(1, &[])]).waits();
    assert_eq!(waits, [EvaluationWait::Shortage { of: Shortage::Disk }]);
    let why = bench.scheduler.explain_build(build(1), bench.moment(), bench.now);
    assert_eq!(why, Some(BuildWait::Shortage { of: Shortage::Disk }));
    assert_eq!(bench.apply(Event::WorkerShort { worker: worker(1), shortage: None }).assigned_builds(), [1]);
}

#[test]
fn outputs_on_their_way_take_no_slot_but_are_not_more_than_there_are_slots() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    assert_eq!(bench.evaluated(1, (1..=3).map(|n| new_build(n, &[])).collect()).assigned_builds(), [1]);
    let ended = |n| Event::BuilderEnded { job: build_job(n), epoch: Epoch(1), worker: worker(1), usable: false };
    assert_eq!(bench.apply(ended(1)).assigned_builds(), [2]);
    assert_eq!(bench.apply(ended(1)).assigned_builds(), [], "said twice");
    assert_eq!(bench.apply(ended(2)).assigned_builds(), [], "one is on its way already");
    assert_eq!(bench.finish(build_job(1), 1, 1).assigned_builds(), [], "its slot was free before");
    assert_eq!(bench.finish(build_job(2), 1, 1).assigned_builds(), [3]);
    assert_eq!(bench.finish(build_job(3), 1, 1).assigned_builds(), []);
}

#[test]
fn higher_priority_comes_first() {
    let mut bench = Bench::new();
    bench.evaluated(1, vec![new_build(1, &[])]);
    let urgent = NewEvaluation { priority: Priority::try_from(5).unwrap(), ..new_evaluation(2, Stage::Build) };
    bench.apply(Event::EvaluationAdded(urgent));
    bench.apply(Event::BuildsAdded { evaluation: evaluation(2), builds: vec![new_build(2, &[]), new_build(3, &[])] });
    assert_eq!(bench.connect(1, 1).assigned_builds(), [2]);
    // Without the urgent evaluation its builds are as urgent as any.
    bench.evaluated(3, vec![new_build(3, &[])]);
    bench.abort(2, false);
    assert_eq!(bench.finish(build_job(2), 1, 1).assigned_builds(), [1]);
}

#[test]
fn the_longest_chain_comes_first_then_age() {
    let mut bench = Bench::new();
    let builds = vec![new_build(1, &[]), new_build(2, &[]), new_build(3, &[2]), new_build(4, &[])];
    bench.evaluated(1, builds);
    // A chain that becomes known later counts all the same.
    bench.evaluated(2, vec![new_build(4, &[]), new_build(5, &[4]), new_build(6, &[5])]);
    assert_eq!(bench.connect(1, 3).assigned_builds(), [4, 2, 1]);
}

#[test]
fn a_long_build_comes_before_a_chain_of_short_ones() {
    let mut bench = Bench::new();
    let takes = |secs, build| NewBuild { expected: seconds(secs), ..build };
    let chain = [takes(1, new_build(1, &[])), takes(2, new_build(2, &[1])), takes(3, new_build(3, &[2]))];
    let long = [takes(7, new_build(4, &[])), takes(5, new_build(5, &[]))];
    bench.evaluated(1, chain.into_iter().chain(long).collect());
    assert_eq!(bench.connect(1, 3).assigned_builds(), [4, 1, 5]);
}

#[test]
fn organizations_share_by_weight() {
    let mut bench = Bench::new();
    bench.apply(Event::ShareChanged { organization: organization(2), weight: 200 });
    bench.evaluated(1, (1..=6).map(|n| new_build(n, &[])).collect());
    bench.apply(Event::EvaluationAdded(NewEvaluation { organization: organization(2), ..new_evaluation(2, Stage::Build) }));
    let builds = (11..=16).map(|n| NewBuild { organization: organization(2), ..new_build(n, &[]) }).collect();
    bench.apply(Event::BuildsAdded { evaluation: evaluation(2), builds });
    let both = Event::WorkerConnected {
        worker: worker(1),
        organizations: vec![serves(1), serves(2)],
        capabilities: machine(6),
        running: vec![],
    };
    let assigned = bench.apply(both).assigned_builds();
    assert_eq!(assigned.iter().filter(|&&n| n > 10).count(), 4);
    assert_eq!(assigned.len(), 6);
}

#[test]
fn a_shared_build_runs_once() {
    let mut bench = Bench::new();
    bench.connect(1, 4);
    assert_eq!(bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[1])]).assigned_builds(), [1]);
    assert_eq!(bench.evaluated(2, vec![new_build(1, &[]), new_build(3, &[1])]).assigned_builds(), []);
    assert_eq!(bench.finish(build_job(1), 1, 1).assigned_builds(), [2, 3]);
}

#[test]
fn a_long_chain_neither_overflows_nor_lingers() {
    const LENGTH: u128 = 20_000;
    let mut bench = Bench::new();
    let chain = (1..=LENGTH).map(|n| if n == 1 { new_build(n, &[]) } else { new_build(n, &[n - 1]) });
    bench.evaluated(1, chain.collect());
    bench.connect(1, 1);
    for n in 1..LENGTH {
        assert_eq!(bench.finish(build_job(n), 1, 1).assigned_builds(), [n + 1]);
    }
    bench.finish(build_job(LENGTH), 1, 1);
    assert_eq!(bench.scheduler.job_count(), 0);
    assert_eq!(bench.scheduler.explain_build(build(1), bench.moment(), bench.now), None);
}

#[test]
fn a_chain_counts_at_the_latest_when_all_is_known() {
    let mut bench = Bench::new();
    let add = |builds| Event::BuildsAdded { evaluation: evaluation(1), builds };
    bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Build)));
    bench.apply(add((1..=40).map(|n| new_build(n, &[])).collect()));
    bench.apply(add(vec![new_build(41, &[40])]));
    bench.apply(Event::EvaluationSealed { evaluation: evaluation(1), had_errors: false });
    assert_eq!(bench.connect(1, 2).assigned_builds(), [40, 1]);
}

/// Builds that nothing depends on and that are expected to run for so many milliseconds each.
fn takes_millis(millis: &[u64]) -> Vec<NewBuild> {
    let takes = |(n, &millis)| NewBuild { expected: Duration::from_millis(millis), ..new_build(n, &[]) };
    (1..).zip(millis).map(takes).collect()
}

#[test]
fn a_worker_that_is_done_in_moments_is_given_what_comes_next() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    assert_eq!(bench.evaluated(1, takes_millis(&[300; 9])).assigned_builds(), [1]);
    // 900 of 1,000 ms, and as many again when one of them ends.
    assert_eq!(bench.finish(build_job(1), 1, 1).assigned_builds(), [2, 3, 4]);
    assert_eq!(bench.finish(build_job(2), 1, 1).assigned_builds(), [5]);
    bench.finish(build_job(3), 1, 1);
    // Who fails comes back later, and the next is not kept waiting.
    assert_eq!(bench.fail(build_job(4), 1, 1, FailureKind::Transient).assigned_builds(), [7]);
}

#[test]
fn nothing_waits_behind_what_is_long_nor_what_is_long_behind_others() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    assert_eq!(bench.evaluated(1, takes_millis(&[2000, 1500, 10, 10, 10])).assigned_builds(), [1]);
    assert_eq!(bench.finish(build_job(1), 1, 1).assigned_builds(), [2]);
    assert_eq!(bench.finish(build_job(2), 1, 1).assigned_builds(), [3, 4, 5]);
}

#[test]
fn short_builds_go_to_free_slots_first() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.connect(2, 1);
    let first = bench.evaluated(1, takes_millis(&[10; 6])).assigned();
    assert_eq!(first.len(), 2);
    let (job, epoch, by) = first[0];
    bench.apply(Event::JobFinished { job, epoch, worker: by, bytes: 0 });
    let views: Vec<usize> = bench.scheduler.workers().map(|view| view.jobs.len()).collect();
    assert!(views.iter().all(|&jobs| jobs >= 1), "{views:?}");
}
