//! Projects that evaluate by themselves, and a repository that goes on.

use gradient_domain::{Moment, ProjectId, WorkerId};
use gradient_engine::{Engine, EngineSettings, Project, ProjectChanges};
use gradient_storage::{Conn, commits, evaluations, projects};

use crate::{
    repository::{Repository, insert},
    tenants::until,
    world::World,
};

gradient_test_support::both_databases!(
    a_new_head_is_evaluated_once_and_not_beside_another,
    a_change_of_a_project_counts_without_a_restart,
    a_repository_that_cannot_be_reached_stops_no_other,
);

async fn polling(world: &World) -> Engine {
    world.start(EngineSettings { allow_local_repositories: true, ..EngineSettings::default() }).await
}

/// The hashes of the commits that a project has evaluated, newest first.
async fn evaluated(world: &World, project: ProjectId) -> Vec<String> {
    let read = async move |conn: &mut Conn| {
        let mut hashes = Vec::new();
        for evaluation in evaluations::page(conn, project, 100, 0).await?.0 {
            hashes.push(commits::find(conn, evaluation.commit).await?.hash);
        }
        Ok(hashes)
    };
    world.storage.read(read).await.unwrap()
}

/// Until a look that began from now on has ended: then there is another one.
async fn looked(world: &World, project: ProjectId) {
    for _ in 0..2 {
        let now = Moment::now();
        until(async || {
            let found = world.storage.read(async move |conn: &mut Conn| projects::find(conn, project).await).await.unwrap();
            found.last_check_at > Some(now)
        })
        .await;
    }
}

async fn a_new_head_is_evaluated_once_and_not_beside_another(url: &str) {
    let (world, repository) = (World::new(url).await, Repository::new());
    let (organization, _) = world.register("acme", WorkerId::random(), Moment::now()).await;
    let project = insert(&world, repository.project(organization, "main")).await;
    let engine = polling(&world).await;
    let first = repository.git(&["rev-parse", "HEAD"]).trim().to_owned();
    until(async || evaluated(&world, project).await == [first.clone()]).await;

    let second = repository.commit();
    looked(&world, project).await;
    assert_eq!(evaluated(&world, project).await, std::slice::from_ref(&first), "one that runs is not disturbed");
    let running = engine.evaluations(project, 1, 0).await.unwrap().0.remove(0);
    assert_eq!(running.triggered_by, None);
    engine.abort_evaluation(running.id).await.unwrap();
    until(async || evaluated(&world, project).await == [second.clone(), first.clone()]).await;

    let running = engine.evaluations(project, 1, 0).await.unwrap().0.remove(0);
    engine.abort_evaluation(running.id).await.unwrap();
    looked(&world, project).await;
    assert_eq!(evaluated(&world, project).await, [second, first], "a commit is evaluated once");
    engine.stop();
}

async fn a_change_of_a_project_counts_without_a_restart(url: &str) {
    let (world, repository) = (World::new(url).await, Repository::new());
    let (organization, _) = world.register("acme", WorkerId::random(), Moment::now()).await;
    let witness = insert(&world, repository.project(organization, "witness")).await;
    let inactive = insert(&world, Project { active: false, ..repository.project(organization, "inactive") }).await;
    let manual = insert(&world, Project { poll_interval_secs: 0, ..repository.project(organization, "manual") }).await;
    let engine = polling(&world).await;
    looked(&world, witness).await;
    assert!(evaluated(&world, inactive).await.is_empty());
    assert!(evaluated(&world, manual).await.is_empty());

    let active = ProjectChanges { active: Some(true), ..ProjectChanges::default() };
    engine.change_project(inactive, active).await.unwrap();
    let polled = ProjectChanges { poll_interval_secs: Some(1), ..ProjectChanges::default() };
    engine.change_project(manual, polled).await.unwrap();
    until(async || evaluated(&world, inactive).await.len() == 1).await;
    until(async || evaluated(&world, manual).await.len() == 1).await;
    engine.stop();
}

async fn a_repository_that_cannot_be_reached_stops_no_other(url: &str) {
    let (world, repository, gone) = (World::new(url).await, Repository::new(), Repository::new());
    let (organization, _) = world.register("acme", WorkerId::random(), Moment::now()).await;
    let unreachable = gone.project(organization, "gone");
    drop(gone);
    let unreachable = insert(&world, unreachable).await;
    let engine = polling(&world).await;
    looked(&world, unreachable).await;
    let main = insert(&world, repository.project(organization, "main")).await;
    until(async || evaluated(&world, main).await.len() == 1).await;
    assert!(evaluated(&world, unreachable).await.is_empty());
    engine.stop();
}
