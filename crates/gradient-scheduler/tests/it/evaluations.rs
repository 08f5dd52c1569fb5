//! Where evaluations stand.

use gradient_domain::{Epoch, EvaluationStatus, EvaluationWait, Job, JobKind, UnmetWorkers};
use gradient_scheduler::{Decision, Event, NewBuild, Stage};

use crate::fixture::{Bench, ORGANIZATION, build, build_job, evaluation, new_build, new_evaluation, organization, worker};

fn workers(unmet: &[(&str, &[&str], u32)], connected_workers: u32) -> EvaluationWait {
    let unmet = unmet.iter().map(|&(architecture, features, build_count)| UnmetWorkers {
        architecture: architecture.to_owned(),
        required_features: features.iter().map(|&feature| feature.to_owned()).collect(),
        build_count,
    });
    EvaluationWait::Workers { unmet: unmet.collect(), connected_workers }
}

#[test]
fn from_request_to_completion() {
    use EvaluationStatus::{Building, Completed, EvaluatingDerivation, EvaluatingFlake, Fetching};

    let mut bench = Bench::new();
    bench.connect(1, 1);
    let added = bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Fetch)));
    assert_eq!(added.evaluations(), [(1, Fetching)]);
    let fetched = bench.finish(Job::Fetch(evaluation(1)), 1, 1);
    assert_eq!(fetched.evaluations(), [(1, EvaluatingFlake)]);
    assert_eq!(fetched.assigned(), [(Job::Evaluate(evaluation(1)), Epoch(1), worker(1))]);
    let found = bench.apply(Event::BuildsAdded { evaluation: evaluation(1), builds: vec![new_build(1, &[])] });
    assert_eq!((found.evaluations(), found.assigned_builds()), (vec![(1, EvaluatingDerivation)], vec![1]));
    bench.apply(Event::EntryPointsAdded { evaluation: evaluation(1), builds: vec![build(1)] });
    bench.apply(Event::EvaluationSealed { evaluation: evaluation(1), had_errors: false });
    assert_eq!(bench.finish(Job::Evaluate(evaluation(1)), 1, 1).evaluations(), [(1, Building)]);
    assert_eq!(bench.finish(build_job(1), 1, 1).evaluations(), [(1, Completed)]);
    assert_eq!(bench.scheduler.job_count(), 0);
}

#[test]
fn builds_that_end_before_the_evaluator_do_not_end_the_evaluation() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Evaluate)));
    bench.apply(Event::BuildsAdded { evaluation: evaluation(1), builds: vec![new_build(1, &[])] });
    assert_eq!(bench.finish(build_job(1), 1, 1).evaluations(), []);
    assert_eq!(bench.finish(Job::Evaluate(evaluation(1)), 1, 1).evaluations(), []);
    let sealed = bench.apply(Event::EvaluationSealed { evaluation: evaluation(1), had_errors: false });
    assert_eq!(sealed.evaluations(), [(1, EvaluationStatus::Completed)]);
}

#[test]
fn errors_of_the_evaluation_fail_it() {
    let mut bench = Bench::new();
    bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Build)));
    let sealed = bench.apply(Event::EvaluationSealed { evaluation: evaluation(1), had_errors: true });
    assert_eq!(sealed.evaluations(), [(1, EvaluationStatus::Failed)]);
}

#[test]
fn it_waits_for_somebody_to_fetch() {
    let mut bench = Bench::new();
    let added = bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Fetch)));
    let wait = EvaluationWait::EvalWorkers { capability: JobKind::Fetch };
    assert_eq!((added.evaluations(), added.waits()), (vec![(1, EvaluationStatus::Waiting)], vec![wait.clone()]));
    assert_eq!(bench.scheduler.explain_evaluation(evaluation(1)), Some(wait));
    assert_eq!(bench.connect(1, 0).evaluations(), [(1, EvaluationStatus::Fetching)]);
    assert_eq!(bench.scheduler.explain_evaluation(evaluation(1)), None);
    // Somebody who is busy is somebody.
    let second = bench.apply(Event::EvaluationAdded(new_evaluation(2, Stage::Fetch)));
    assert_eq!(second.evaluations(), []);
}

#[test]
fn it_waits_only_when_nothing_else_is_left() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    let kvm = |n, dependencies: &[u128]| NewBuild { features: vec!["kvm".into()], ..new_build(n, dependencies) };
    let builds = vec![new_build(1, &[]), new_build(2, &[]), kvm(3, &[1]), kvm(4, &[3])];
    assert_eq!(bench.evaluated(1, builds).evaluations(), [(1, EvaluationStatus::Building)]);
    assert_eq!(bench.finish(build_job(1), 1, 1).evaluations(), []);
    let left = bench.finish(build_job(2), 1, 1);
    assert_eq!(left.evaluations(), [(1, EvaluationStatus::Waiting)]);
    assert_eq!(left.waits(), [workers(&[("x86_64-linux", &["kvm"], 2)], 1)]);
    // The reason changes with the workers.
    assert_eq!(bench.connect(2, 1).waits(), [workers(&[("x86_64-linux", &["kvm"], 2)], 2)]);
    assert_eq!(bench.connect(2, 1).0, []);
}

#[test]
fn it_waits_for_a_draining_worker_by_name() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.apply(Event::WorkerDraining { worker: worker(1) });
    assert_eq!(bench.evaluated(1, vec![new_build(1, &[])]).waits(), [EvaluationWait::Draining]);
    let fetch = bench.apply(Event::EvaluationAdded(new_evaluation(2, Stage::Fetch)));
    assert_eq!(fetch.waits(), [EvaluationWait::Draining]);
    let gone = bench.lose(1);
    assert_eq!(gone.waits().len(), 2);
    assert_eq!(bench.connect(1, 1).evaluations().len(), 2);
}

#[test]
fn it_completes_when_there_is_a_cache() {
    let mut bench = Bench::new();
    bench.apply(Event::CachesChanged { organization: organization(ORGANIZATION), writable: false });
    bench.connect(1, 1);
    bench.evaluated(1, vec![new_build(1, &[])]);
    assert_eq!(bench.finish(build_job(1), 1, 1).waits(), [EvaluationWait::NoCache]);
    let cache = bench.apply(Event::CachesChanged { organization: organization(ORGANIZATION), writable: true });
    assert_eq!(cache.evaluations(), [(1, EvaluationStatus::Completed)]);
}

#[test]
fn without_outputs_it_needs_no_cache() {
    let mut bench = Bench::new();
    bench.apply(Event::CachesChanged { organization: organization(ORGANIZATION), writable: false });
    assert_eq!(bench.evaluated(1, vec![]).evaluations(), [(1, EvaluationStatus::Completed)]);
}

#[test]
fn an_entry_point_that_nobody_knows_did_not_succeed() {
    let mut bench = Bench::new();
    bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Build)));
    bench.apply(Event::EntryPointsAdded { evaluation: evaluation(1), builds: vec![build(7)] });
    let sealed = bench.apply(Event::EvaluationSealed { evaluation: evaluation(1), had_errors: false });
    assert_eq!(sealed.evaluations(), [(1, EvaluationStatus::Failed)]);
}

#[test]
fn a_lost_evaluator_is_replaced() {
    let mut bench = Bench::new();
    bench.connect(1, 0);
    bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Evaluate)));
    bench.connect(2, 0);
    bench.lose(1);
    let back = bench.connect(1, 0);
    assert_eq!(back.assigned(), [(Job::Evaluate(evaluation(1)), Epoch(2), worker(2))]);
    // Nothing to tell: it was and is being evaluated.
    assert!(!back.0.iter().any(|decision| matches!(decision, Decision::EvaluationMoved { .. })));
}
