//! Evaluations that end before their time.

use gradient_domain::{BuildStatus, Epoch, EvaluationStatus, FailureKind, Job};
use gradient_scheduler::{Event, Stage};

use crate::fixture::{Bench, build_job, evaluation, new_build, new_evaluation, seconds, worker};

fn with_running_and_waiting() -> Bench {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[]), new_build(3, &[1, 2])]);
    bench
}

#[test]
fn a_soft_abort_lets_running_builds_finish() {
    let mut bench = with_running_and_waiting();
    let aborted = bench.abort(1, false);
    assert_eq!(aborted.evaluations(), [(1, EvaluationStatus::Aborted)]);
    assert_eq!(aborted.moved(), [(2, BuildStatus::Aborted), (3, BuildStatus::Aborted)]);
    assert_eq!(aborted.cancelled(), []);
    assert_eq!(bench.scheduler.job_count(), 1);
    assert_eq!(bench.finish(build_job(1), 1, 1).0, []);
    assert_eq!(bench.scheduler.job_count(), 0);
}

#[test]
fn a_hard_abort_cancels_them() {
    let mut bench = with_running_and_waiting();
    let aborted = bench.abort(1, true);
    let mut moved = aborted.moved();
    moved.sort_unstable();
    assert_eq!(moved, [1, 2, 3].map(|n| (n, BuildStatus::Aborted)));
    assert_eq!(aborted.cancelled(), [(build_job(1), Epoch(1), worker(1))]);
    assert_eq!(bench.scheduler.job_count(), 0);
    // The slot is free when the worker says so.
    assert_eq!(bench.evaluated(2, vec![new_build(9, &[])]).assigned(), []);
    assert_eq!(bench.fail(build_job(1), 1, 1, FailureKind::Aborted).assigned_builds(), [9]);
}

#[test]
fn what_another_evaluation_needs_goes_on() {
    let mut bench = with_running_and_waiting();
    bench.evaluated(2, vec![new_build(2, &[]), new_build(4, &[2])]);
    assert_eq!(bench.abort(1, true).moved(), [(1, BuildStatus::Aborted), (3, BuildStatus::Aborted)]);
    assert_eq!(bench.fail(build_job(1), 1, 1, FailureKind::Aborted).assigned_builds(), [2]);
    assert_eq!(bench.finish(build_job(2), 1, 1).assigned_builds(), [4]);
    assert_eq!(bench.finish(build_job(4), 1, 1).evaluations(), [(2, EvaluationStatus::Completed)]);
    assert_eq!(bench.scheduler.job_count(), 0);
}

#[test]
fn a_build_brings_its_dependencies_into_a_second_evaluation() {
    let mut bench = Bench::new();
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[1])]);
    bench.evaluated(2, vec![new_build(2, &[1])]);
    assert_eq!(bench.abort(1, true).moved(), []);
    assert_eq!(bench.connect(1, 1).assigned_builds(), [1]);
}

#[test]
fn a_build_that_runs_on_can_be_needed_again() {
    let mut bench = with_running_and_waiting();
    bench.abort(1, false);
    assert_eq!(bench.evaluated(2, vec![new_build(1, &[]), new_build(5, &[1])]).assigned(), []);
    assert_eq!(bench.finish(build_job(1), 1, 1).assigned_builds(), [5]);
}

#[test]
fn a_build_that_runs_on_is_not_tried_again() {
    let mut bench = with_running_and_waiting();
    bench.abort(1, false);
    assert_eq!(bench.fail(build_job(1), 1, 1, FailureKind::Transient).moved(), [(1, BuildStatus::Aborted)]);
    assert_eq!(bench.scheduler.job_count(), 0);
    assert_eq!(bench.pass(seconds(999)).0, []);
}

#[test]
fn the_job_of_an_aborted_evaluation_is_cancelled() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Evaluate)));
    let aborted = bench.abort(1, false);
    assert_eq!(aborted.cancelled(), [(Job::Evaluate(evaluation(1)), Epoch(1), worker(1))]);
    // What it had found and was on its way comes too late.
    let late = bench.apply(Event::BuildsAdded { evaluation: evaluation(1), builds: vec![new_build(1, &[])] });
    assert_eq!(late.moved(), [(1, BuildStatus::Aborted)]);
    assert_eq!(bench.abort(1, true).0, []);
}

#[test]
fn the_slot_of_a_cancelled_job_is_free_once_it_has_stopped() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Evaluate)));
    bench.abort(1, false);
    let next = bench.apply(Event::EvaluationAdded(new_evaluation(2, Stage::Evaluate)));
    assert_eq!(next.assigned(), []);
    // What is said of an assignment that nobody was told to stop changes nothing.
    let other = bench.apply(Event::JobStopped { job: Job::Evaluate(evaluation(1)), epoch: Epoch(2), worker: worker(1) });
    assert_eq!(other.0, []);
    let stopped = bench.apply(Event::JobStopped { job: Job::Evaluate(evaluation(1)), epoch: Epoch(1), worker: worker(1) });
    assert_eq!(stopped.assigned(), [(Job::Evaluate(evaluation(2)), Epoch(1), worker(1))]);
}

#[test]
fn what_many_need_goes_on_until_the_last_of_them_ends() {
    let mut bench = Bench::new();
    for n in 1..=4 {
        bench.evaluated(n, vec![new_build(1, &[])]);
    }
    for n in [2, 4, 1] {
        assert_eq!(bench.abort(n, true).moved(), []);
    }
    assert_eq!(bench.abort(3, true).moved(), [(1, BuildStatus::Aborted)]);
    assert_eq!(bench.scheduler.job_count(), 0);
}
