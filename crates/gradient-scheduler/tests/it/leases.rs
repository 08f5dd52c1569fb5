//! What happens to jobs when workers vanish.

use gradient_domain::{BuildStatus, Epoch, Job};
use gradient_scheduler::Event;

use crate::fixture::{
    Bench, ORGANIZATION, Outcome, build_job, evaluation, machine, new_build, organization, seconds, serves, worker,
};

const LEASE: u64 = 300;

fn with_running_build() -> Bench {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    assert_eq!(bench.evaluated(1, vec![new_build(1, &[])]).assigned(), [(build_job(1), Epoch(1), worker(1))]);
    bench
}

#[test]
fn a_connected_worker_keeps_its_job_for_ever() {
    let mut bench = with_running_build();
    assert_eq!(bench.scheduler.next_deadline(), None);
    assert_eq!(bench.pass(seconds(1_000_000)).0, []);
}

#[test]
fn a_worker_that_comes_back_in_time_is_adopted() {
    let mut bench = with_running_build();
    assert_eq!(bench.lose(1).0, []);
    bench.connect(2, 1);
    assert_eq!(bench.pass(seconds(LEASE - 1)).0, []);
    assert_eq!(bench.reconnect(1, 1, vec![(build_job(1), Epoch(1))]).0, []);
    assert_eq!(bench.scheduler.next_deadline(), None);
    assert_eq!(bench.finish(build_job(1), 1, 1).evaluations().len(), 1);
}

#[test]
fn a_lease_ends() {
    let mut bench = with_running_build();
    bench.connect(2, 1);
    bench.lose(1);
    assert_eq!(bench.scheduler.next_deadline(), Some(bench.now.plus(seconds(LEASE))));
    let over = bench.pass(seconds(LEASE));
    assert_eq!(over.moved(), [(1, BuildStatus::Queued), (1, BuildStatus::Building)]);
    assert_eq!(over.assigned(), [(build_job(1), Epoch(2), worker(2))]);
    // The former owner is late, whatever it says.
    assert_eq!(bench.finish(build_job(1), 1, 1).0, []);
    let back = bench.reconnect(1, 1, vec![(build_job(1), Epoch(1))]);
    assert_eq!(back.refused(), [(build_job(1), Epoch(1), worker(1))]);
}

#[test]
fn a_report_that_comes_with_the_deadline_still_counts() {
    let mut bench = with_running_build();
    bench.lose(1);
    bench.now = bench.now.plus(seconds(LEASE + 1));
    let done = bench.finish(build_job(1), 1, 1);
    assert_eq!(done.moved(), []);
    assert_eq!(done.evaluations().len(), 1);
}

#[test]
fn a_worker_that_comes_back_without_its_job_has_lost_it() {
    let mut bench = with_running_build();
    bench.lose(1);
    let back = bench.connect(1, 1);
    assert_eq!(back.assigned(), [(build_job(1), Epoch(2), worker(1))]);
    // Also when it was never seen to leave, and without its job under another epoch.
    let again = bench.reconnect(1, 1, vec![(build_job(1), Epoch(1))]);
    assert_eq!(again.refused(), [(build_job(1), Epoch(1), worker(1))]);
    // The old attempt may still run, so its slot is not free yet.
    assert_eq!(again.assigned(), []);
    let stopped = bench.fail(build_job(1), 1, 1, gradient_domain::FailureKind::Aborted);
    assert_eq!(stopped.assigned(), [(build_job(1), Epoch(3), worker(1))]);
}

#[test]
fn a_slot_that_is_never_reported_stopped_is_free_after_a_while() {
    let mut bench = with_running_build();
    bench.lose(1);
    let back = bench.reconnect(1, 1, vec![(build_job(9), Epoch(4))]);
    assert_eq!((back.refused().len(), back.assigned().len()), (1, 0));
    let later = bench.pass(seconds(LEASE));
    assert_eq!(later.assigned(), [(build_job(1), Epoch(2), worker(1))]);
}

/// A session under the worker's id that serves another organization.
fn connect_elsewhere(bench: &mut Bench, running: Vec<(Job, Epoch)>) -> Outcome {
    let organizations = vec![serves(ORGANIZATION + 1)];
    bench.apply(Event::WorkerConnected { worker: worker(1), organizations, capabilities: machine(1), running })
}

#[test]
fn a_worker_comes_back_only_for_organizations_it_still_serves() {
    let mut bench = with_running_build();
    bench.lose(1);
    bench.pass(seconds(LEASE / 2));
    assert_eq!(connect_elsewhere(&mut bench, vec![(build_job(1), Epoch(1))]).0, []);
    let over = bench.pass(seconds(LEASE / 2));
    assert_eq!(over.cancelled(), [(build_job(1), Epoch(1), worker(1))]);
    assert_eq!(over.moved(), [(1, BuildStatus::Queued)]);
}

#[test]
fn a_session_for_others_takes_no_jobs_from_the_owner_of_its_id() {
    for running in [vec![], vec![(build_job(1), Epoch(1))]] {
        for loses in [true, false] {
            let mut bench = with_running_build();
            if loses {
                bench.lose(1);
            }
            for _ in 0..3 {
                assert_eq!(connect_elsewhere(&mut bench, running.clone()).0, []);
                bench.pass(seconds(LEASE / 4));
            }
            assert_eq!(bench.reconnect(1, 1, vec![(build_job(1), Epoch(1))]).0, []);
            assert_eq!(bench.scheduler.next_deadline(), None);
            assert_eq!(bench.finish(build_job(1), 1, 1).evaluations().len(), 1);
        }
    }
}

#[test]
fn sessions_for_others_do_not_prolong_a_lease() {
    let mut bench = with_running_build();
    bench.lose(1);
    for _ in 0..3 {
        connect_elsewhere(&mut bench, vec![]);
        bench.pass(seconds(LEASE / 4));
        bench.lose(1);
    }
    assert_eq!(bench.pass(seconds(LEASE / 4)).moved(), [(1, BuildStatus::Queued)]);
}

#[test]
fn reports_of_others_and_doubled_ones_change_nothing() {
    let mut bench = with_running_build();
    bench.connect(2, 1);
    for (epoch, by) in [(1, 2), (0, 1), (2, 1)] {
        assert_eq!(bench.finish(build_job(1), epoch, by).0, []);
        assert_eq!(bench.fail(build_job(1), epoch, by, gradient_domain::FailureKind::Permanent).0, []);
    }
    assert_eq!(bench.finish(build_job(1), 1, 1).evaluations().len(), 1);
    assert_eq!(bench.finish(build_job(1), 1, 1).0, []);
}

#[test]
fn fetch_and_evaluate_jobs_are_leased_too() {
    let mut bench = Bench::new();
    bench.connect(1, 0);
    bench.apply(Event::EvaluationAdded(crate::fixture::new_evaluation(1, gradient_scheduler::Stage::Fetch)));
    let job = Job::Fetch(evaluation(1));
    bench.lose(1);
    bench.connect(2, 0);
    let over = bench.pass(seconds(LEASE));
    assert_eq!(over.assigned(), [(job, Epoch(2), worker(2))]);
    assert_eq!(over.evaluations(), []);
}

#[test]
fn started_jobs_are_seen_as_such() {
    let mut bench = with_running_build();
    let started = |bench: &Bench| bench.scheduler.workers().next().map(|worker| worker.jobs[0].started_at);
    assert_eq!(started(&bench), Some(None));
    bench.now = bench.now.plus(seconds(3));
    bench.apply(Event::JobStarted { job: build_job(1), epoch: Epoch(1), worker: worker(1) });
    assert_eq!(started(&bench), Some(Some(bench.now)));
    assert_eq!(bench.scheduler.workers().next().map(|worker| worker.organizations[0].organization), Some(organization(1)));
}
