//! Registrations of workers.

use gradient_domain::{JobKind, WorkerId};
use gradient_engine::{Opened, Refused};
use gradient_protocol::{Capabilities, Hello, PeerSelector, PeerToken, VERSIONS};
use serde_json::json;

use super::worker::{BASE, Workshop};
use crate::server::Server;

gradient_test_support::both_databases!(
    a_worker_is_registered_changed_and_removed,
    bad_registrations_are_refused,
    a_connected_worker_is_seen_by_those_whom_it_serves,
    a_connected_worker_gets_no_more_of_what_is_switched_off,
    a_worker_whose_registration_is_gone_cannot_come_back,
);

const WORKER: &str = "550e8400-e29b-41d4-a716-446655440001";

async fn a_worker_is_registered_changed_and_removed(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    let organization = alice.organization("acme", false).await;
    let registered = alice.post("/orgs/acme/workers", json!({"worker_id": WORKER, "display_name": "build-01"})).await.message();
    assert_eq!(registered["peer_id"], organization);
    assert_eq!(registered["token"].as_str().unwrap().len(), 64);
    let workers = alice.get("/orgs/acme/workers").await.message();
    assert_eq!((&workers[0]["worker_id"], &workers[0]["display_name"]), (&json!(WORKER), &json!("build-01")));
    assert_eq!((&workers[0]["live"], &workers[0]["enable_eval"]), (&json!(null), &json!(true)));
    assert!(!workers.to_string().contains(registered["token"].as_str().unwrap()));

    let path = format!("/orgs/acme/workers/{WORKER}");
    alice.patch(&path, json!({"enable_eval": false})).await.message();
    assert_eq!(alice.get("/orgs/acme/workers").await.message()[0]["enable_eval"], json!(false));
    alice.delete(&path).await.message();
    assert_eq!(alice.get("/orgs/acme/workers").await.message(), json!([]));
    assert_eq!(alice.delete(&path).await.error(), (404, "not_found"));

    let own = alice.post("/orgs/acme/workers", json!({"worker_id": WORKER, "token": "A".repeat(64)})).await.message();
    assert_eq!(own, json!({"peer_id": organization}), "who brings a token knows it");
}

async fn bad_registrations_are_refused(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    let register = async |body| alice.post("/orgs/acme/workers", body).await;
    for body in [
        json!({"worker_id": "build-01"}),
        json!({"worker_id": "0191e0f0-0000-7000-8000-000000000000"}),
        json!({"worker_id": WORKER, "token": "short"}),
        json!({"worker_id": WORKER, "token": "-".repeat(64)}),
    ] {
        assert_eq!(register(body.clone()).await.error(), (400, "validation"), "{body}");
    }
    register(json!({"worker_id": WORKER})).await.message();
    assert_eq!(register(json!({"worker_id": WORKER})).await.error(), (409, "already_exists"));
    assert_eq!(alice.delete("/orgs/acme/workers/x").await.error(), (404, "not_found"));
}

/// The worker connects with the token of a registration.
async fn connect(server: &Server, token: &str) -> Result<Opened, Refused> {
    let hello = Hello {
        versions: VERSIONS,
        worker: WORKER.parse::<WorkerId>().unwrap(),
        program: "1.2.3".to_owned(),
        tokens: vec![PeerToken { peer: PeerSelector::Any, token: token.to_owned() }],
        capabilities: Capabilities {
            kinds: vec![JobKind::Build],
            systems: vec!["x86_64-linux".to_owned()],
            features: vec!["kvm".to_owned()],
            build_slots: 3,
            cores: 4,
            memory_bytes: 1 << 30,
            separates_peers: false,
            nix_version: "2.8.0".to_owned(),
            signing_keys: vec![],
        },
        running: vec![],
        draining: false,
        process: None,
    };
    server.engine.open_worker_session(hello).await
}

async fn a_connected_worker_is_seen_by_those_whom_it_serves(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    alice.organization("acme", false).await;
    bob.organization("other", false).await;
    let registered = alice.post("/orgs/acme/workers", json!({"worker_id": WORKER})).await.message();
    bob.post("/orgs/other/workers", json!({"worker_id": WORKER})).await.message();
    assert_eq!(alice.get("/admin/workers").await.message(), json!([]));

    let opened = connect(&server, registered["token"].as_str().unwrap()).await.unwrap();
    let live = alice.get("/orgs/acme/workers").await.message()[0]["live"].clone();
    let expected = json!({
        "worker_id": WORKER, "architectures": ["x86_64-linux"], "system_features": ["kvm"], "max_concurrent_builds": 3,
        "assigned_job_count": 0, "draining": false, "version": "1.2.3", "connected_at": live["connected_at"],
    });
    assert_eq!(live, expected);
    // The first user runs the server; others see what serves them.
    assert_eq!(alice.get("/admin/workers").await.message(), json!([live]));
    assert_eq!(bob.get("/admin/workers").await.error(), (403, "superuser_required"));
    assert_eq!(server.anonymous().get("/admin/workers").await.error(), (401, "unauthorized"));
    assert_eq!(bob.get("/orgs/other/workers").await.message()[0]["live"], json!(null), "it has not proved that it serves them");

    opened.session.close().await;
    assert_eq!(alice.get("/orgs/acme/workers").await.message()[0]["live"], json!(null));
}

async fn a_connected_worker_gets_no_more_of_what_is_switched_off(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let path = format!("/orgs/acme/workers/{}", workshop.worker.id);
    workshop.alice().patch(&path, json!({"enable_build": false})).await.message();
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE]).await;
    workshop.until(&evaluation, "Waiting").await;
    let builds = workshop.alice().get(&format!("/evals/{evaluation}/builds?status=Queued")).await.message();
    assert_eq!(builds["total"], json!(1));

    workshop.alice().patch(&path, json!({"enable_build": true})).await.message();
    workshop.worker.next_build(BASE).await;
}

async fn a_worker_whose_registration_is_gone_cannot_come_back(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    let registered = alice.post("/orgs/acme/workers", json!({"worker_id": WORKER})).await.message();
    let secret = registered["token"].as_str().unwrap();
    let mut opened = connect(&server, secret).await.unwrap();

    alice.delete(&format!("/orgs/acme/workers/{WORKER}")).await.message();
    assert_eq!(alice.get("/orgs/acme/workers").await.message(), json!([]));
    assert_eq!(alice.get("/admin/workers").await.message(), json!([]));
    while opened.outbox.recv().await.is_some() {}
    opened.session.close().await;
    assert!(connect(&server, secret).await.is_err());

    // Registered anew it has another token.
    let again = alice.post("/orgs/acme/workers", json!({"worker_id": WORKER})).await.message();
    assert!(connect(&server, secret).await.is_err());
    connect(&server, again["token"].as_str().unwrap()).await.unwrap();
}
