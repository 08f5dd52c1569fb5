//! Builds that begin on the worker that has just made what they need.

use gradient_domain::{BuildStatus, Epoch, FailureKind};
use gradient_scheduler::Event;

use crate::fixture::{Bench, Outcome, build_job, new_build, seconds, worker};

fn made(bench: &mut Bench, n: u128) -> Outcome {
    bench.apply(Event::BuilderEnded { job: build_job(n), epoch: Epoch(1), worker: worker(1), usable: true })
}

/// Build 2 needs build 1, which worker 1 has made.
fn begun_early() -> Bench {
    let mut bench = Bench::new();
    bench.connect(1, 2);
    bench.connect(2, 2);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[1]), new_build(3, &[2])]);
    assert_eq!(made(&mut bench, 1).assigned(), [(build_job(2), Epoch(1), worker(1))]);
    bench
}

#[test]
fn a_dependent_begins_where_its_input_was_made() {
    let mut bench = begun_early();
    assert_eq!(bench.finish(build_job(1), 1, 1).assigned_builds(), []);
    assert_eq!(bench.finish(build_job(2), 1, 1).assigned_builds(), [3]);
}

#[test]
fn it_needs_all_of_its_inputs_there() {
    let mut bench = Bench::new();
    bench.connect(1, 2);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[]), new_build(3, &[1, 2])]);
    assert_eq!(made(&mut bench, 1).assigned_builds(), []);
    assert_eq!(made(&mut bench, 2).assigned_builds(), [3]);
}

#[test]
fn what_could_run_anywhere_comes_before_it() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[1]), new_build(3, &[])]);
    assert_eq!(made(&mut bench, 1).assigned_builds(), [3]);
}

#[test]
fn it_is_recalled_when_its_input_is_not_brought_to_an_end() {
    let mut bench = begun_early();
    let failed = bench.fail(build_job(1), 1, 1, FailureKind::Transient);
    assert_eq!(failed.moved(), [(1, BuildStatus::Queued), (2, BuildStatus::Queued)]);
    assert_eq!(failed.cancelled(), [(build_job(2), Epoch(1), worker(1))]);
    assert_eq!(bench.finish(build_job(2), 1, 1).moved(), [], "its end means nothing any more");
    bench.pass(seconds(600));
    // Once is enough: the second time it waits until its input is durable.
    let made = Event::BuilderEnded { job: build_job(1), epoch: Epoch(2), worker: worker(2), usable: true };
    assert_eq!(bench.apply(made).assigned_builds(), []);
    assert_eq!(bench.finish(build_job(1), 2, 2).assigned_builds(), [2]);
}

#[test]
fn it_fails_with_its_input() {
    let mut bench = begun_early();
    let failed = bench.fail(build_job(1), 1, 1, FailureKind::OutputLimit);
    assert_eq!(failed.cancelled(), [(build_job(2), Epoch(1), worker(1))]);
    assert_eq!(failed.causes(), [(2, 1), (3, 1)]);
}

#[test]
fn a_worker_that_comes_back_goes_on_with_both() {
    let mut bench = begun_early();
    bench.lose(1);
    let both = vec![(build_job(1), Epoch(1)), (build_job(2), Epoch(1))];
    assert_eq!(bench.reconnect(1, 2, both).0, []);
    // Of the input nothing is left: what was begun with it goes as well.
    let lost = bench.reconnect(1, 2, vec![(build_job(2), Epoch(1))]);
    assert_eq!(lost.cancelled(), [(build_job(2), Epoch(1), worker(1))]);
    assert_eq!(lost.assigned_builds(), [1]);
}

#[test]
fn a_worker_that_has_lost_both_has_its_slots() {
    let mut bench = begun_early();
    bench.lose(2);
    let lost = bench.reconnect(1, 1, vec![]);
    assert_eq!((lost.cancelled(), lost.assigned_builds()), (vec![], vec![1]));
}
