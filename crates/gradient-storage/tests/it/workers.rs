use gradient_domain::{OrganizationId, WorkerId};
use gradient_storage::{
    Conn, Digest, organizations,
    workers::{self, WorkerChanges, WorkerRegistration},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(keeps_registrations);

fn registration(organization: OrganizationId, worker: WorkerId) -> WorkerRegistration {
    WorkerRegistration {
        organization,
        worker,
        display_name: "build-01".parse().unwrap(),
        token_hash: Digest([8; 32]),
        enable_fetch: true,
        enable_eval: false,
        enable_build: true,
        registered_at: NOW,
        created_by: None,
    }
}

async fn keeps_registrations(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, other) = (insert_organization(conn, "acme").await?, insert_organization(conn, "other").await?);
        let one = registration(acme, worker());
        workers::insert(conn, &one).await?;
        let again = one.clone();
        exists(conn, "worker", async move |conn: &mut Conn| workers::insert(conn, &again).await).await;
        workers::insert(conn, &registration(other, one.worker)).await?;
        assert_eq!(workers::list(conn, acme).await?, std::slice::from_ref(&one));
        assert_eq!(workers::lookup_by_worker(conn, one.worker).await?.len(), 2);
        organizations::set_deleted(conn, other, NOW).await?;
        assert_eq!(workers::lookup_by_worker(conn, one.worker).await?, std::slice::from_ref(&one));

        let changes = WorkerChanges { enable_eval: Some(true), ..WorkerChanges::default() };
        workers::set(conn, acme, one.worker, &changes).await?;
        let after = workers::lookup(conn, acme, one.worker).await?;
        assert_eq!(after, Some(WorkerRegistration { enable_eval: true, ..one.clone() }));
        assert_missing(workers::set(conn, acme, worker(), &changes).await, "worker");
        workers::delete(conn, acme, one.worker).await?;
        assert_missing(workers::delete(conn, acme, one.worker).await, "worker");
        assert!(workers::lookup_by_worker(conn, one.worker).await?.is_empty());
        Ok(())
    })
    .await;
}
