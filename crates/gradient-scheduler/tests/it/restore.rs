//! A scheduler that is built again from the database.

use gradient_domain::{BuildStatus, Epoch, EvaluationStatus, Job};
use gradient_scheduler::{BuildState, Event, NewBuild, NewEvaluation, Stage};

use crate::fixture::{Bench, build, build_job, evaluation, new_build, new_evaluation, seconds, worker};

fn leased(n: u128, epoch: u32, by: u128) -> NewBuild {
    NewBuild { state: BuildState::Leased { epoch: Epoch(epoch), worker: worker(by) }, ..new_build(n, &[]) }
}

/// Build 1 is done, 2 is with worker 1, 3 was tried once and waits for 2.
fn restored() -> Bench {
    let mut bench = Bench::new();
    let done = NewBuild { state: BuildState::Ended(BuildStatus::Completed), ..new_build(1, &[]) };
    let waiting = NewBuild { state: BuildState::Queued { epoch: Epoch(1) }, ..new_build(3, &[1, 2]) };
    let decisions = bench.all([
        Event::EvaluationAdded(NewEvaluation { status: EvaluationStatus::Building, ..new_evaluation(1, Stage::Build) }),
        Event::BuildsAdded { evaluation: evaluation(1), builds: vec![done, leased(2, 3, 1), waiting] },
        Event::EntryPointsAdded { evaluation: evaluation(1), builds: vec![build(3)] },
        Event::EvaluationSealed { evaluation: evaluation(1), had_errors: false },
    ]);
    assert_eq!(decisions.0, []);
    bench
}

#[test]
fn the_owner_goes_on() {
    let mut bench = restored();
    assert_eq!(bench.reconnect(1, 1, vec![(build_job(2), Epoch(3))]).0, []);
    assert_eq!(bench.finish(build_job(2), 3, 1).assigned(), [(build_job(3), Epoch(2), worker(1))]);
    assert_eq!(bench.finish(build_job(3), 2, 1).evaluations(), [(1, EvaluationStatus::Completed)]);
}

#[test]
fn an_owner_that_does_not_come_back_loses_it() {
    let mut bench = restored();
    assert_eq!(bench.connect(2, 1).assigned(), []);
    assert_eq!(bench.pass(seconds(300)).assigned(), [(build_job(2), Epoch(4), worker(2))]);
}

#[test]
fn what_ran_on_after_an_abort_still_may() {
    let mut bench = Bench::new();
    let queued = NewBuild { state: BuildState::Queued { epoch: Epoch(2) }, ..new_build(2, &[]) };
    let decisions = bench.apply(Event::BuildsAdded { evaluation: evaluation(1), builds: vec![leased(1, 1, 1), queued] });
    assert_eq!(decisions.moved(), [(2, BuildStatus::Aborted)]);
    assert_eq!(bench.reconnect(1, 1, vec![(build_job(1), Epoch(1))]).0, []);
    assert_eq!(bench.scheduler.job_count(), 1);
    bench.finish(build_job(1), 1, 1);
    assert_eq!(bench.scheduler.job_count(), 0);
}

#[test]
fn the_evaluator_goes_on() {
    let mut bench = Bench::new();
    let evaluating = NewEvaluation {
        status: EvaluationStatus::EvaluatingFlake,
        job_epoch: Epoch(2),
        lease: Some(worker(1)),
        ..new_evaluation(1, Stage::Evaluate)
    };
    assert_eq!(bench.apply(Event::EvaluationAdded(evaluating)).0, []);
    bench.connect(2, 1);
    assert_eq!(bench.reconnect(1, 1, vec![(Job::Evaluate(evaluation(1)), Epoch(2))]).0, []);
    let sealed = bench.all([
        Event::EvaluationSealed { evaluation: evaluation(1), had_errors: false },
        Event::JobFinished { job: Job::Evaluate(evaluation(1)), epoch: Epoch(2), worker: worker(1), bytes: 0 },
    ]);
    assert_eq!(sealed.evaluations(), [(1, EvaluationStatus::Completed)]);
}

#[test]
fn a_status_far_behind_is_caught_up_by_legal_moves() {
    let mut bench = Bench::new();
    let behind = NewEvaluation {
        status: EvaluationStatus::Fetching,
        lease: Some(worker(1)),
        job_epoch: Epoch(1),
        ..new_evaluation(1, Stage::Evaluate)
    };
    let moves = bench
        .all([Event::EvaluationAdded(behind), Event::BuildsAdded { evaluation: evaluation(1), builds: vec![new_build(1, &[])] }]);
    assert_eq!(moves.evaluations(), [(1, EvaluationStatus::Queued), (1, EvaluationStatus::EvaluatingDerivation)]);
}

#[test]
fn what_the_database_knows_to_have_ended_has_ended() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[1])]);
    let done = NewBuild { state: BuildState::Ended(BuildStatus::Substituted), ..new_build(1, &[]) };
    let told = bench.apply(Event::BuildsAdded { evaluation: evaluation(1), builds: vec![done] });
    assert_eq!(told.cancelled(), [(build_job(1), Epoch(1), worker(1))]);
    assert_eq!(bench.finish(build_job(1), 1, 1).assigned_builds(), [2]);
}

#[test]
fn a_build_that_was_begun_before_its_dependencies_goes_back_to_the_queue() {
    let mut bench = Bench::new();
    let begun = NewBuild { dependencies: vec![build(1)], ..leased(2, 1, 1) };
    let moves = bench.evaluated(1, vec![new_build(1, &[]), begun]);
    assert_eq!(moves.moved(), [(2, BuildStatus::Queued)]);
    assert_eq!(bench.reconnect(1, 1, vec![(build_job(2), Epoch(1))]).refused(), [(build_job(2), Epoch(1), worker(1))]);
}
