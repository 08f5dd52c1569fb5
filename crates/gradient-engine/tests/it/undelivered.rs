//! Assignments that cannot be written down yet: their workers cannot have heard of them, and have not lost them.

use std::sync::Arc;

use gradient_domain::{BuildStatus, Epoch};
use gradient_engine::EngineSettings;
use gradient_protocol::ToWorker;
use gradient_storage::{Conn, builds};
use tokio::sync::Semaphore;

use crate::{
    tenants::{next, status},
    world::{Tenant, World, connect, soon},
};

gradient_test_support::both_databases!(what_a_worker_has_not_heard_of_is_not_lost);

async fn what_a_worker_has_not_heard_of_is_not_lost(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let engine = world.start(EngineSettings::default()).await;

    // Nothing can be written down for a while.
    let (is_held, is_over) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (begun, over, storage) = (Arc::clone(&is_held), Arc::clone(&is_over), world.storage.clone());
    let holding = tokio::spawn(async move {
        let wait = async move |conn: &mut Conn| {
            builds::lock(conn).await?;
            begun.add_permits(1);
            let _over = over.acquire().await;
            Ok(())
        };
        storage.transaction(wait).await
    });
    let _held = soon(is_held.acquire()).await.unwrap();

    // The worker has lost its build, once: it comes without it, and is to get it again. Whatever it does until it has heard of that, it
    // does not lose it once more.
    for _ in 0..2 * EngineSettings::default().build_max_attempts {
        connect(&engine, tenant.worker, &tenant.token, vec![]).await.unwrap().session.close().await;
    }
    let mut worker = connect(&engine, tenant.worker, &tenant.token, vec![]).await.unwrap();
    is_over.add_permits(1);
    soon(holding).await.unwrap().unwrap();
    let assigned = |message: &ToWorker| match message {
        ToWorker::Assign { job, epoch, .. } if *job == tenant.job() => Some(*epoch),
        _ => None,
    };
    assert_eq!(next(&mut worker.outbox, assigned).await, Epoch(Tenant::EPOCH.0 + 1));
    assert_eq!(status(&world, &tenant).await, BuildStatus::Building);
}
