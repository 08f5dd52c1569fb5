//! Logs of builds, as `nix log` asks for them.

use std::collections::BTreeMap;

use gradient_domain::{BuildId, CacheId, DerivationId, Epoch, Moment, OrganizationId, SubscriptionMode, WorkerId};
use gradient_engine::NewOrganization;
use gradient_nix::InputDerivationHash;
use gradient_storage::{
    Conn, StorageError, attempts,
    builds::{self, NewBuild},
    derivations::{self, NewDerivation},
    logs,
};
use reqwest::StatusCode;

use super::{
    cache,
    private::subscribe,
    published::{APP, APP_DRV, publish_app},
    user,
};
use crate::server::Server;

gradient_test_support::both_databases!(a_log_is_there_for_what_the_cache_has);

async fn organization(server: &Server, name: &str) -> OrganizationId {
    let owner = user(server, name).await;
    let wanted = NewOrganization {
        name: name.parse().unwrap(),
        display_name: name.parse().unwrap(),
        description: String::new(),
        public: false,
    };
    server.engine.create_organization(owner, wanted).await.unwrap()
}

/// A build of `APP` that succeeded, with its log.
pub(crate) async fn build(conn: &mut Conn, organization: OrganizationId, log: Vec<u8>) -> Result<BuildId, StorageError> {
    let (derivation, build, now) = (DerivationId::new(), BuildId::new(), Moment::now());
    let app = NewDerivation {
        id: derivation,
        organization,
        drv_path: APP_DRV.parse().unwrap(),
        name: "app".to_owned(),
        system: "x86_64-linux".to_owned(),
        features: Vec::new(),
        aterm: b"Derive".to_vec(),
        input_hash: InputDerivationHash::Regular([0; 32]),
        outputs: BTreeMap::from([("out".to_owned(), Some(APP.parse().unwrap()))]),
        inputs: Vec::new(),
        created_at: now,
    };
    derivations::insert_many(conn, vec![app]).await?;
    let new =
        NewBuild { id: build, organization, derivation, generation: 1, beginning: builds::Beginning::Queued, queued_at: now };
    builds::insert_many(conn, vec![new]).await?;
    assert!(attempts::assign(conn, build, Epoch(1), WorkerId::random(), now).await?.is_some());
    assert!(attempts::set_started(conn, build, Epoch(1), now).await?);
    logs::append(conn, build, Epoch(1), 0, log).await?;
    let success = attempts::Success { build, epoch: Epoch(1), log_bytes: 1, log_frames: None };
    assert!(builds::complete(conn, build, Epoch(1), 1, now).await?);
    assert!(attempts::set_succeeded(conn, success, now).await?);
    Ok(build)
}

async fn log(server: &Server, name: &str) -> (StatusCode, Vec<u8>) {
    let response = server.http.get(format!("{}/cache/acme/log/{name}", server.url)).send().await.unwrap();
    let status = response.status();
    if status == StatusCode::OK {
        assert_eq!(response.headers().get("content-type").unwrap(), "text/plain; charset=utf-8");
        assert!(response.content_length().is_some());
    }
    (status, response.bytes().await.unwrap().into())
}

async fn a_log_is_there_for_what_the_cache_has(database: &str) {
    let server = Server::start(database).await;
    let (publisher, stranger) = (organization(&server, "publisher").await, organization(&server, "stranger").await);
    let owner = user(&server, "owner").await;
    let id: CacheId = cache(&server, owner, "acme", true).await;
    subscribe(&server, publisher, id, SubscriptionMode::ReadWrite).await;
    subscribe(&server, stranger, id, SubscriptionMode::ReadOnly).await;
    // More than is read at a time.
    let long: Vec<u8> = (0..100_000).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
    let lines = long.clone();
    let insert = async move |conn: &mut Conn| {
        build(conn, stranger, b"not for everybody\n".to_vec()).await?;
        build(conn, publisher, lines).await?;
        Ok(())
    };
    server.storage.transaction(insert).await.unwrap();

    assert_eq!(log(&server, APP_DRV).await.0, StatusCode::NOT_FOUND);
    publish_app(&server, id).await;
    assert_eq!(log(&server, APP_DRV).await, (StatusCode::OK, long.clone()));
    assert_eq!(log(&server, APP_DRV.strip_suffix(".drv").unwrap()).await, (StatusCode::OK, long));
    server.engine.unsubscribe(publisher, id).await.unwrap();
    assert_eq!(log(&server, APP_DRV).await.0, StatusCode::NOT_FOUND);
}
