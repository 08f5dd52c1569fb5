//! Caches and their keys.

use serde_json::json;

use crate::server::Server;

gradient_test_support::both_databases!(
    a_cache_is_made_changed_and_deleted,
    the_key_is_public_and_stays,
    pulling_through_is_a_setting,
    caches_are_seen_by_readers
);

async fn a_cache_is_made_changed_and_deleted(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    let id = alice.cache("main", false).await;
    let shown = alice.get("/caches/main").await.message();
    assert_eq!(shown["id"], id);
    assert_eq!((&shown["priority"], &shown["active"], &shown["can_edit"]), (&json!(40), &json!(true), &json!(true)));
    alice.patch("/caches/main", json!({"priority": 10, "public": true, "description": "x"})).await.message();
    assert_eq!(server.anonymous().get("/caches/main").await.message()["priority"], json!(10));
    assert_eq!(alice.patch("/caches/main", json!({"priority": -1})).await.error(), (400, "validation"));

    let info = async || server.http.get(format!("{}/cache/main/nix-cache-info", server.url)).send().await.unwrap().status();
    assert_eq!(info().await.as_u16(), 200);
    alice.delete("/caches/main/active").await.message();
    assert_eq!(info().await.as_u16(), 404, "an inactive cache serves nothing");
    assert_eq!(alice.get("/caches/main").await.message()["active"], json!(false));
    alice.post("/caches/main/active", json!({})).await.message();
    assert_eq!(info().await.as_u16(), 200);
    alice.delete("/caches/main").await.message();
    assert_eq!(info().await.as_u16(), 404);
    assert_eq!(alice.get("/caches/main").await.error(), (404, "not_found"));
    alice.cache("main", false).await;
}

async fn the_key_is_public_and_stays(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.cache("main", true).await;
    let key = server.anonymous().get("/caches/main/key").await.message();
    assert!(key.as_str().unwrap().starts_with("127.0.0.1-main:"), "{key}");
    assert_eq!(server.anonymous().get("/caches/main/public-key").await.message(), key);
    alice.patch("/caches/main", json!({"name": "renamed"})).await.message();
    assert_eq!(alice.get("/caches/renamed/key").await.message(), key);
    assert_eq!(alice.get("/caches/renamed").await.message()["public_key"], key);
    assert_eq!(alice.put("/caches", json!({"name": "renamed", "display_name": "x"})).await.error(), (409, "already_exists"));
}

async fn pulling_through_is_a_setting(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.cache("main", true).await;
    let pulls = async || server.anonymous().get("/caches/main").await.message()["pull_through"].clone();
    assert_eq!(pulls().await, json!(false));
    for wanted in [false, true, true, false] {
        alice.patch("/caches/main", json!({"pull_through": wanted})).await.message();
        assert_eq!(pulls().await, json!(wanted));
    }
    alice.patch("/caches/main", json!({"pull_through": true})).await.message();
    alice.patch("/caches/main", json!({"priority": 3})).await.message();
    assert_eq!(pulls().await, json!(true), "what is left out stays");
}

async fn caches_are_seen_by_readers(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    alice.cache("private", false).await;
    alice.cache("open", true).await;
    alice.organization("acme", false).await;
    assert_eq!(bob.get("/caches").await.message()["total"], json!(1));
    assert_eq!(server.anonymous().get("/caches/private").await.error(), (401, "unauthorized"));
    alice.post("/orgs/acme/users", json!({"user": "bob", "role": "View"})).await.message();
    alice.post("/orgs/acme/subscribe/private", json!({})).await.message();
    assert_eq!(bob.get("/caches").await.message()["total"], json!(2));
    bob.get("/caches/private/key").await.message();
    assert_eq!(bob.delete("/caches/private").await.error(), (403, "forbidden"));
}
