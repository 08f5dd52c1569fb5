//! What a new evaluation of a project does to those that run, also when several begin at once.

use futures_util::future::join_all;
use gradient_domain::{BuildStatus, Concurrency, EvaluationStatus, Moment, WorkerId};
use gradient_engine::{Engine, EngineError, EngineSettings, Evaluation, EvaluationRequest, Project};

use crate::{
    repository::{Repository, insert},
    tenants::{cancelled, next, status},
    world::{Tenant, World, connect},
};

gradient_test_support::both_databases!(
    of_those_that_skip_one_begins,
    the_newest_takes_the_place_of_the_others,
    those_that_want_all_leave_each_other_alone,
    a_soft_abort_lets_builds_finish,
    a_hard_abort_stops_them,
    nothing_begins_in_what_is_being_deleted,
);

/// How many begin at once.
const CROWD: usize = 8;

async fn start(world: &World) -> Engine {
    world.start(EngineSettings { allow_local_repositories: true, ..EngineSettings::default() }).await
}

/// A project that is only evaluated when somebody asks.
async fn project(world: &World, repository: &Repository, concurrency: Concurrency) -> Project {
    let (organization, _) = world.register("acme", WorkerId::random(), Moment::now()).await;
    let project = Project { concurrency, poll_interval_secs: 0, ..repository.project(organization, "main") };
    insert(world, project.clone()).await;
    project
}

/// Starts several evaluations at once; how many began. The others were refused for one that runs.
async fn crowd(engine: &Engine, project: &Project) -> usize {
    let requests = (0..CROWD).map(|_| engine.request_evaluation(project, EvaluationRequest::default()));
    let mut begun = 0;
    for outcome in join_all(requests).await {
        match outcome {
            Ok(_) => begun += 1,
            Err(EngineError::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    begun
}

/// A project's evaluations, newest first.
async fn all(engine: &Engine, project: &Project) -> Vec<Evaluation> {
    engine.evaluations(project.id, 100, 0).await.unwrap().0
}

async fn of_those_that_skip_one_begins(url: &str) {
    let (world, repository) = (World::new(url).await, Repository::new());
    let project = project(&world, &repository, Concurrency::Skip).await;
    let engine = start(&world).await;
    assert_eq!(crowd(&engine, &project).await, 1);
    let [running] = all(&engine, &project).await.try_into().unwrap();
    engine.abort_evaluation(running.id).await.unwrap();
    assert_eq!(crowd(&engine, &project).await, 1);
}

async fn the_newest_takes_the_place_of_the_others(url: &str) {
    let (world, repository) = (World::new(url).await, Repository::new());
    let project = project(&world, &repository, Concurrency::SoftAbort).await;
    let engine = start(&world).await;
    assert_eq!(crowd(&engine, &project).await, CROWD);
    let all = all(&engine, &project).await;
    let ended = all.iter().filter(|evaluation| evaluation.status == EvaluationStatus::Aborted).count();
    assert_eq!((all.len(), ended), (CROWD, CROWD - 1));
    let firsts = all.iter().filter(|evaluation| evaluation.previous.is_none()).count();
    assert_eq!(firsts, 1, "each comes after another one");
}

async fn those_that_want_all_leave_each_other_alone(url: &str) {
    let (world, repository) = (World::new(url).await, Repository::new());
    let project = project(&world, &repository, Concurrency::All).await;
    let engine = start(&world).await;
    assert_eq!(crowd(&engine, &project).await, CROWD);
    assert!(all(&engine, &project).await.iter().all(|evaluation| evaluation.finished_at.is_none()));
}

/// An evaluation of the project has a build that runs when another evaluation begins.
async fn replace(world: &World, concurrency: Concurrency) -> (Tenant, gradient_engine::Opened) {
    let repository = Repository::new();
    let worker = WorkerId::random();
    let (organization, token) = world.register("acme", worker, Moment::now()).await;
    let project = Project { concurrency, poll_interval_secs: 0, ..repository.project(organization, "main") };
    insert(world, project.clone()).await;
    let tenant = world.tenant_of(organization, worker, token, Some(project.id)).await;
    let engine = start(world).await;
    let opened = connect(&engine, worker, &tenant.token, vec![(tenant.job(), Tenant::EPOCH)]).await.unwrap();
    engine.request_evaluation(&project, EvaluationRequest::default()).await.unwrap();
    assert_eq!(engine.evaluation(tenant.evaluation).await.unwrap().status, EvaluationStatus::Aborted);
    // Whatever the beginning decided is durable once a later decision is.
    engine.abort_evaluation(tenant.evaluation).await.unwrap();
    (tenant, opened)
}

async fn a_soft_abort_lets_builds_finish(url: &str) {
    let world = World::new(url).await;
    let (tenant, mut opened) = replace(&world, Concurrency::SoftAbort).await;
    assert_eq!(status(&world, &tenant).await, BuildStatus::Building);
    assert!(opened.outbox.try_recv().is_err());
}

async fn a_hard_abort_stops_them(url: &str) {
    let world = World::new(url).await;
    let (tenant, mut opened) = replace(&world, Concurrency::HardAbort).await;
    assert_eq!(status(&world, &tenant).await, BuildStatus::Aborted);
    next(&mut opened.outbox, cancelled).await;
}

async fn nothing_begins_in_what_is_being_deleted(url: &str) {
    let (world, repository) = (World::new(url).await, Repository::new());
    let project = project(&world, &repository, Concurrency::All).await;
    let engine = start(&world).await;
    let requests = join_all((0..CROWD).map(|_| engine.request_evaluation(&project, EvaluationRequest::default())));
    let (outcomes, deleted) = tokio::join!(requests, engine.delete_organization(project.organization));
    deleted.unwrap();
    for outcome in outcomes {
        assert!(matches!(outcome, Ok(_) | Err(EngineError::NotFound { .. })), "{outcome:?}");
    }
    assert!(all(&engine, &project).await.iter().all(|evaluation| evaluation.finished_at.is_some()), "one was forgotten");
}
