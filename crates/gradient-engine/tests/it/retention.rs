//! How many evaluations a project keeps.

use gradient_domain::{EvaluationId, EvaluationStatus, Moment, WorkerId};
use gradient_engine::{Engine, EngineSettings, Project};
use gradient_storage::{
    Conn, attempts, builds,
    cache_paths::{self, NewCachePath},
    caches::{self, Cache},
    evaluations,
};

use crate::{
    reaper::{build_is_there, later},
    repository::{Repository, insert},
    world::{Tenant, World},
};

gradient_test_support::both_databases!(older_evaluations_go_with_what_only_they_need, older_direct_builds_go);

/// Ends an evaluation.
async fn end(world: &World, id: EvaluationId, status: EvaluationStatus) {
    let now = Moment::now();
    let end = async move |conn: &mut Conn| {
        evaluations::set_status(conn, id, EvaluationStatus::Building, None, now).await?;
        evaluations::set_status(conn, id, status, None, now).await
    };
    assert!(world.storage.transaction(end).await.unwrap());
}

/// The project's evaluations, oldest first.
async fn left(engine: &Engine, project: &Project) -> Vec<EvaluationId> {
    let (mut all, _) = engine.evaluations(project.id, 100, 0).await.unwrap();
    all.reverse();
    all.into_iter().map(|evaluation| evaluation.id).collect()
}

async fn older_evaluations_go_with_what_only_they_need(url: &str) {
    let (world, repository, worker) = (World::new(url).await, Repository::new(), WorkerId::random());
    let (organization, token) = world.register("acme", worker, Moment::now()).await;
    let project = Project { keep_evaluations: 2, poll_interval_secs: 0, ..repository.project(organization, "main") };
    insert(&world, project.clone()).await;
    // It has a build of its own, whose output a cache publishes.
    let oldest = world.tenant_of(organization, worker, token, Some(project.id)).await;
    let cache = publish(&world, &oldest).await;
    let shared = world.queued(&oldest).await;
    let successful = world.evaluation_of(&project, &[]).await;
    let running = world.evaluation_of(&project, &[]).await;
    let aborted = world.evaluation_of(&project, &[shared]).await;
    let failed = world.evaluation_of(&project, &[shared]).await;
    let newest = world.evaluation_of(&project, &[]).await;
    end(&world, oldest.evaluation, EvaluationStatus::Completed).await;
    end(&world, successful, EvaluationStatus::Completed).await;
    end(&world, aborted, EvaluationStatus::Aborted).await;
    end(&world, failed, EvaluationStatus::Failed).await;
    end(&world, newest, EvaluationStatus::Failed).await;
    let engine = world.start(EngineSettings::default()).await;

    engine.reap(later(Moment::now(), 2)).await.unwrap();
    assert_eq!(left(&engine, &project).await, [successful, running, failed, newest]);
    assert!(!build_is_there(&world, oldest.build).await);
    let build = oldest.build;
    let attempts = world.storage.read(async move |conn: &mut Conn| attempts::list(conn, build).await).await.unwrap();
    assert_eq!(attempts, []);
    assert!(build_is_there(&world, shared).await, "one that is kept needs it");

    // What was published stays, with its bytes.
    for hours in [30, 60] {
        engine.reap(later(Moment::now(), hours)).await.unwrap();
    }
    let hash = oldest.path.hash();
    let claim = async move |conn: &mut Conn| cache_paths::lookup_by_hash(conn, cache, hash).await;
    let claim = world.storage.read(claim).await.unwrap().expect("a claim");
    assert!(world.blobs.size(&gradient_blobs::BlobKey::nar(&claim.nar_hash)).await.unwrap().is_some());

    // The last that succeeded goes when another one has, and all that runs stays for as long as it runs.
    let better = world.evaluation_of(&project, &[]).await;
    end(&world, better, EvaluationStatus::Completed).await;
    engine.reap(later(Moment::now(), 2)).await.unwrap();
    assert_eq!(left(&engine, &project).await, [running, newest, better]);
    engine.abort_evaluation(running).await.unwrap();
    engine.reap(later(Moment::now(), 2)).await.unwrap();
    assert_eq!(left(&engine, &project).await, [newest, better]);
}

async fn older_direct_builds_go(url: &str) {
    let world = World::new(url).await;
    let (acme, _) = world.register("acme", WorkerId::random(), Moment::now()).await;
    let (other, _) = world.register("other", WorkerId::random(), Moment::now()).await;
    let tenant = world.tenant("tenant").await;
    let of_another = world.unannounced(other).await;
    let mut direct = Vec::new();
    for _ in 0..5 {
        direct.push(world.unannounced(acme).await);
    }
    let [oldest, running, completed, failed, newest] = direct.try_into().unwrap();
    for id in [oldest, completed, newest, of_another, tenant.evaluation] {
        end(&world, id, EvaluationStatus::Completed).await;
    }
    end(&world, failed, EvaluationStatus::Failed).await;
    let older_of_tenant = tenant.evaluation;
    world.unannounced(tenant.organization).await;
    world.unannounced(tenant.organization).await;
    let engine = world.start(EngineSettings { keep_direct_builds: 2, ..EngineSettings::default() }).await;

    engine.reap(later(Moment::now(), 2)).await.unwrap();
    for (id, stays) in [
        (oldest, false),
        (running, true),
        (completed, false),
        (failed, true),
        (newest, true),
        (of_another, true),
        (older_of_tenant, false),
    ] {
        assert_eq!(engine.lookup_evaluation(id).await.unwrap().is_some(), stays, "{id}");
    }
}

/// The tenant's build completes, and a cache publishes the tenant's path.
async fn publish(world: &World, tenant: &Tenant) -> gradient_domain::CacheId {
    let (build, path, now) = (tenant.build, tenant.path.clone(), Moment::now());
    let cache = cache(now);
    let id = cache.id;
    let publish = async move |conn: &mut Conn| {
        caches::insert(conn, &cache).await?;
        let nar_hash = gradient_nix::NarHash([1; 32]);
        let claim =
            NewCachePath { path, nar_hash, references: vec![], deriver: None, content_address: None, foreign_signatures: vec![] };
        cache_paths::publish(conn, id, vec![claim], now).await?;
        builds::complete(conn, build, Tenant::EPOCH, 1, now).await
    };
    assert!(world.storage.transaction(publish).await.unwrap());
    id
}

pub(crate) fn cache(now: Moment) -> Cache {
    Cache {
        id: gradient_domain::CacheId::new(),
        name: "main".parse().unwrap(),
        display_name: "main".parse().unwrap(),
        description: String::new(),
        priority: 40,
        active: true,
        public: true,
        created_by: None,
        created_at: now,
        deleted_at: None,
        retention_days: None,
        max_bytes: None,
        pull_through: false,
    }
}
