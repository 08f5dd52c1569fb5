//! What failures do to the build and to what waits for it.

use gradient_domain::{BuildStatus, BuildWait, Epoch, EvaluationStatus, FailureKind, Job};
use gradient_scheduler::{BuildState, Decision, Event, NewBuild, Stage};

use crate::fixture::{Bench, build, build_job, evaluation, new_build, new_evaluation, seconds, worker};

#[test]
fn a_failure_takes_all_dependents_with_it_and_nothing_else() {
    let mut bench = Bench::new();
    bench.connect(1, 4);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[1]), new_build(3, &[2]), new_build(4, &[])]);
    let failed = bench.fail(build_job(1), 1, 1, FailureKind::Permanent);
    let statuses = [(1, BuildStatus::Failed), (2, BuildStatus::DependencyFailed), (3, BuildStatus::DependencyFailed)];
    assert_eq!(failed.moved(), statuses);
    assert_eq!(failed.causes(), [(2, 1), (3, 1)]);
    // The evaluation fails at the end, not before.
    assert_eq!(failed.evaluations(), []);
    assert_eq!(bench.finish(build_job(4), 1, 1).evaluations(), [(1, EvaluationStatus::Completed)]);
    assert_eq!(bench.scheduler.job_count(), 0);
}

#[test]
fn only_entry_points_decide() {
    let mut bench = Bench::new();
    bench.connect(1, 4);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[1])]);
    let failed = bench.fail(build_job(1), 1, 1, FailureKind::Timeout);
    assert_eq!(failed.evaluations(), [(1, EvaluationStatus::Failed)]);
}

#[test]
fn what_comes_after_the_failure_fails_at_once() {
    let mut bench = Bench::new();
    bench.connect(1, 4);
    bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Build)));
    let add = |builds| Event::BuildsAdded { evaluation: evaluation(1), builds };
    bench.apply(add(vec![new_build(1, &[]), new_build(2, &[1])]));
    bench.fail(build_job(1), 1, 1, FailureKind::Permanent);
    assert_eq!(bench.apply(add(vec![new_build(3, &[2])])).causes(), [(3, 1)]);
    // Results of earlier evaluations count the same.
    let old = NewBuild { state: BuildState::Ended(BuildStatus::Failed), ..new_build(4, &[]) };
    let older = NewBuild { state: BuildState::Ended(BuildStatus::DependencyFailed), ..new_build(5, &[4]) };
    assert_eq!(bench.apply(add(vec![old, older, new_build(6, &[5])])).causes(), [(6, 4)]);
    let aborted = NewBuild { state: BuildState::Ended(BuildStatus::Aborted), ..new_build(7, &[]) };
    let after = bench.apply(add(vec![aborted, new_build(8, &[7]), new_build(9, &[8])]));
    assert_eq!(after.moved(), [(8, BuildStatus::Aborted), (9, BuildStatus::Aborted)]);
    let done = NewBuild { state: BuildState::Ended(BuildStatus::Substituted), ..new_build(10, &[]) };
    assert_eq!(bench.apply(add(vec![done, new_build(11, &[10])])).assigned_builds(), [11]);
}

#[test]
fn a_transient_failure_is_tried_again_later_and_elsewhere() {
    let mut bench = Bench::new();
    bench.connect(1, 9);
    bench.evaluated(1, vec![new_build(1, &[])]);
    bench.connect(2, 1);
    let failed = bench.fail(build_job(1), 1, 1, FailureKind::Transient);
    assert_eq!(failed.moved(), [(1, BuildStatus::Queued)]);
    assert!(matches!(failed.0[0], Decision::BuildMoved { failure: Some(FailureKind::Transient), epoch: Epoch(1), .. }));
    let at = bench.moment().plus(seconds(2));
    assert_eq!(bench.scheduler.explain_build(build(1), bench.moment(), bench.now), Some(BuildWait::Retry { at }));
    assert_eq!(bench.scheduler.next_deadline(), Some(bench.now.plus(seconds(2))));
    assert_eq!(bench.pass(seconds(2)).assigned(), [(build_job(1), Epoch(2), worker(2))]);
}

#[test]
fn the_same_worker_tries_again_when_there_is_no_other() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.evaluated(1, vec![new_build(1, &[])]);
    bench.fail(build_job(1), 1, 1, FailureKind::InputsMissing);
    assert_eq!(bench.pass(seconds(2)).assigned(), [(build_job(1), Epoch(2), worker(1))]);
    // Each wait is twice the one before.
    bench.fail(build_job(1), 2, 1, FailureKind::InputsMissing);
    assert_eq!(bench.pass(seconds(3)).assigned(), []);
    assert_eq!(bench.pass(seconds(1)).assigned().len(), 1);
}

#[test]
fn attempts_end() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.evaluated(1, vec![new_build(1, &[])]);
    for epoch in 1..5 {
        assert_eq!(bench.fail(build_job(1), epoch, 1, FailureKind::Transient).moved(), [(1, BuildStatus::Queued)]);
        assert_eq!(bench.pass(seconds(200)).assigned().len(), 1);
    }
    let last = bench.fail(build_job(1), 5, 1, FailureKind::Transient);
    assert_eq!(last.moved(), [(1, BuildStatus::Failed)]);
    assert_eq!(last.evaluations(), [(1, EvaluationStatus::Failed)]);
}

#[test]
fn an_unfit_worker_never_gets_the_build_again() {
    let mut bench = Bench::new();
    bench.connect(1, 2);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[1])]);
    let unfit = bench.fail(build_job(1), 1, 1, FailureKind::WorkerUnfit);
    assert_eq!(unfit.evaluations(), [(1, EvaluationStatus::Waiting)]);
    assert_eq!(bench.connect(1, 2).assigned(), []);
    let other = bench.connect(2, 1);
    assert_eq!(other.assigned(), [(build_job(1), Epoch(2), worker(2))]);
    assert_eq!(other.evaluations(), [(1, EvaluationStatus::Building)]);
    // That says nothing of the next build.
    assert_eq!(bench.finish(build_job(1), 2, 2).assigned(), [(build_job(2), Epoch(1), worker(1))]);
}

#[test]
fn a_failed_fetch_ends_the_evaluation() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Fetch)));
    let failed = bench.fail(Job::Fetch(evaluation(1)), 1, 1, FailureKind::Permanent);
    let [Decision::EvaluationMoved { status, failure, .. }] = failed.0[..] else { panic!("{failed:?}") };
    assert_eq!((status, failure), (EvaluationStatus::Failed, Some(FailureKind::Permanent)));
    assert_eq!(bench.scheduler.job_count(), 0);
}

#[test]
fn a_failed_evaluation_still_builds_what_it_found() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Evaluate)));
    bench.apply(Event::BuildsAdded { evaluation: evaluation(1), builds: vec![new_build(1, &[]), new_build(2, &[1])] });
    let failed = bench.fail(Job::Evaluate(evaluation(1)), 1, 1, FailureKind::Permanent);
    assert_eq!(failed.evaluations(), [(1, EvaluationStatus::Building)]);
    assert_eq!(bench.finish(build_job(1), 1, 1).assigned_builds(), [2]);
    assert_eq!(bench.finish(build_job(2), 1, 1).evaluations(), [(1, EvaluationStatus::Failed)]);
}
