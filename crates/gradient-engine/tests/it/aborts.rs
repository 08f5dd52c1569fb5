//! Evaluations that are aborted: what was said to be over stays over.

use gradient_domain::{BuildStatus, EvaluationId, EvaluationStatus, Moment, WorkerId};
use gradient_engine::{Engine, EngineSettings};
use gradient_protocol::ToWorker;

use crate::{
    tenants::{cancelled, next, status, until},
    world::{Tenant, World, connect},
};

gradient_test_support::both_databases!(
    an_abort_is_durable_when_it_is_answered,
    what_another_evaluation_needs_goes_on,
    an_evaluation_is_aborted_before_the_scheduler_hears_of_it,
    a_deleted_organization_ends_its_work,
    thousands_of_builds_that_wait_are_aborted_at_once,
);

async fn evaluation_status(engine: &Engine, id: EvaluationId) -> EvaluationStatus {
    engine.evaluation(id).await.unwrap().status
}

async fn an_abort_is_durable_when_it_is_answered(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let engine = world.start(EngineSettings::default()).await;
    let running = vec![(tenant.job(), Tenant::EPOCH)];
    let mut worker = connect(&engine, tenant.worker, &tenant.token, running).await.unwrap();

    engine.abort_evaluation(tenant.evaluation).await.unwrap();
    assert_eq!(evaluation_status(&engine, tenant.evaluation).await, EvaluationStatus::Aborted);
    assert_eq!(status(&world, &tenant).await, BuildStatus::Aborted);
    let told = std::iter::from_fn(|| worker.outbox.try_recv().ok());
    assert_eq!(told.filter(|message| matches!(message, ToWorker::Cancel { .. })).count(), 1);

    engine.abort_evaluation(tenant.evaluation).await.unwrap();
    engine.stop();
    let restarted = world.start(EngineSettings::default()).await;
    assert_eq!(evaluation_status(&restarted, tenant.evaluation).await, EvaluationStatus::Aborted);
    assert_eq!(status(&world, &tenant).await, BuildStatus::Aborted);
}

async fn what_another_evaluation_needs_goes_on(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let other = world.sharing(&tenant).await;
    let engine = world.start(EngineSettings::default()).await;
    let running = vec![(tenant.job(), Tenant::EPOCH)];
    let mut worker = connect(&engine, tenant.worker, &tenant.token, running).await.unwrap();

    engine.abort_evaluation(tenant.evaluation).await.unwrap();
    assert_eq!(status(&world, &tenant).await, BuildStatus::Building);
    assert!(worker.outbox.try_recv().is_err(), "the worker has nothing to hear of it");

    engine.abort_evaluation(other).await.unwrap();
    assert_eq!(status(&world, &tenant).await, BuildStatus::Aborted);
    next(&mut worker.outbox, cancelled).await;
}

async fn an_evaluation_is_aborted_before_the_scheduler_hears_of_it(url: &str) {
    let world = World::new(url).await;
    let (organization, _) = world.register("acme", WorkerId::random(), Moment::now()).await;
    let engine = world.start(EngineSettings::default()).await;
    let evaluation = world.unannounced(organization).await;
    engine.abort_evaluation(evaluation).await.unwrap();
    assert_eq!(evaluation_status(&engine, evaluation).await, EvaluationStatus::Aborted);
}

async fn a_deleted_organization_ends_its_work(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let engine = world.start(EngineSettings::default()).await;
    let running = vec![(tenant.job(), Tenant::EPOCH)];
    let mut worker = connect(&engine, tenant.worker, &tenant.token, running.clone()).await.unwrap();

    engine.delete_organization(tenant.organization).await.unwrap();
    assert_eq!(status(&world, &tenant).await, BuildStatus::Aborted);
    next(&mut worker.outbox, cancelled).await;
    worker.session.close().await;
    assert!(connect(&engine, tenant.worker, &tenant.token, running).await.is_err(), "its registration is gone");
    until(async || engine.connected_workers().is_empty()).await;
}

/// It took half a minute on a fast machine when each was written down by itself, and all other decisions waited.
async fn thousands_of_builds_that_wait_are_aborted_at_once(url: &str) {
    const COUNT: u16 = 8000;
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let evaluation = world.crowded(&tenant, COUNT).await;
    let engine = world.start(EngineSettings::default()).await;
    engine.abort_evaluation(evaluation).await.unwrap();
    let ended = engine.evaluation(evaluation).await.unwrap();
    assert_eq!((ended.builds.aborted, ended.builds.queued), (i32::from(COUNT), 0));
    assert_eq!((ended.entry_points.total, ended.entry_points.failed), (1, 1));
    let page = engine.evaluation_builds(evaluation, 1, 0, Some(BuildStatus::Aborted)).await.unwrap();
    assert_eq!((page.builds.len(), page.total), (1, i64::from(COUNT)));
    assert_eq!(status(&world, &tenant).await, BuildStatus::Building, "another evaluation needs it");
}
