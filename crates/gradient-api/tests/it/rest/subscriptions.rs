//! Subscriptions of organizations to caches.

use serde_json::json;

use crate::server::Server;

gradient_test_support::both_databases!(an_organization_subscribes, only_who_may_subscribes);

async fn an_organization_subscribes(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    let id = alice.cache("main", false).await;
    let path = "/orgs/acme/subscribe/main";
    assert_eq!(alice.post(path, json!({"mode": "sideways"})).await.error(), (400, "bad_request"));
    alice.send(reqwest::Method::POST, path, None).await.message();
    let list = alice.get("/orgs/acme/subscribe").await.message();
    assert_eq!(list, json!([{"id": id, "name": "main", "mode": "read_write"}]));
    assert_eq!(alice.post(path, json!({"mode": "read_only"})).await.error(), (409, "already_exists"));
    alice.delete(path).await.message();
    assert_eq!(alice.get("/orgs/acme/subscribe").await.message(), json!([]));
    assert_eq!(alice.delete(path).await.error(), (404, "not_found"));
    alice.post(path, json!({"mode": "write_only"})).await.message();
    assert_eq!(alice.get("/orgs/acme/subscribe").await.message()[0]["mode"], json!("write_only"));
}

async fn only_who_may_subscribes(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    alice.cache("open", true).await;
    alice.cache("private", false).await;
    bob.organization("bobs", false).await;
    assert_eq!(bob.post("/orgs/bobs/subscribe/open", json!({})).await.error(), (403, "forbidden"));
    assert_eq!(bob.post("/orgs/bobs/subscribe/private", json!({})).await.error(), (404, "not_found"));
    assert_eq!(bob.post("/orgs/bobs/subscribe/nothing", json!({})).await.error(), (404, "not_found"));
    assert_eq!(alice.post("/orgs/bobs/subscribe/open", json!({})).await.error(), (404, "not_found"));
}
