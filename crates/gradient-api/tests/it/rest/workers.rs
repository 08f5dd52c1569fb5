//! Registrations of workers.

use serde_json::json;

use crate::server::Server;

gradient_test_support::both_databases!(a_worker_is_registered_changed_and_removed, bad_registrations_are_refused);

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
