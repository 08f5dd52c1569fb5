//! What is remembered of somebody who reads a private cache ends at once with what it was decided from.

use reqwest::StatusCode;
use serde_json::json;

use crate::{
    cache_root::published::{HELLO, publish_hello},
    server::Server,
};

gradient_test_support::both_databases!(
    a_reader_whose_key_is_deleted_is_out_at_once,
    a_member_who_has_to_go_is_out_at_once,
    a_subscriber_is_out_at_once,
);

/// What somebody gets who asks for a narinfo, and asks again: from the database and from memory.
async fn reads(server: &Server, password: &str) -> StatusCode {
    let (hash, _) = HELLO.split_once('-').unwrap();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let request = server.http.get(format!("{}/cache/main/{hash}.narinfo", server.url));
        statuses.push(request.basic_auth("x", Some(password)).send().await.unwrap().status());
    }
    statuses.dedup();
    assert_eq!(statuses.len(), 1, "{statuses:?}");
    statuses[0]
}

async fn private_cache(server: &Server, token: &str) {
    let id = server.with(token).cache("main", false).await;
    publish_hello(server, id.as_str().unwrap().parse().unwrap()).await;
}

async fn a_reader_whose_key_is_deleted_is_out_at_once(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    private_cache(&server, &token).await;
    let alice = server.with(&token);
    let [reads_it, lists_it] =
        ["readStore", "viewCache"].map(|permission| json!({"name": permission, "permissions": [permission]}));
    let (key, weak) = (alice.key(reads_it).await, alice.key(lists_it).await);
    assert_eq!(reads(&server, &key).await, StatusCode::OK);
    assert_eq!(reads(&server, &weak).await, StatusCode::NOT_FOUND);
    assert_eq!(reads(&server, "wrong").await, StatusCode::UNAUTHORIZED);

    let keys = alice.get("/user/keys").await.message();
    let id = keys.as_array().unwrap().iter().find(|key| key["name"] == "readStore").unwrap()["id"].as_str().unwrap().to_owned();
    alice.patch(&format!("/user/keys/{id}"), json!({"permissions": ["viewCache"]})).await.message();
    assert_eq!(reads(&server, &key).await, StatusCode::NOT_FOUND);
    alice.patch(&format!("/user/keys/{id}"), json!({"permissions": ["readStore"]})).await.message();
    assert_eq!(reads(&server, &key).await, StatusCode::OK);
    alice.delete_with("/user/keys", json!({"name": "readStore"})).await.message();
    assert_eq!(reads(&server, &key).await, StatusCode::UNAUTHORIZED);

    assert_eq!(reads(&server, &token).await, StatusCode::OK);
    alice.post("/auth/logout", json!({})).await.message();
    assert_eq!(reads(&server, &token).await, StatusCode::UNAUTHORIZED);
}

async fn a_member_who_has_to_go_is_out_at_once(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    private_cache(&server, &token).await;
    let alice = server.with(&token);
    assert_eq!(reads(&server, &other).await, StatusCode::NOT_FOUND);
    alice.post("/caches/main/members", json!({"user": "bob", "role": "View"})).await.message();
    assert_eq!(reads(&server, &other).await, StatusCode::OK);
    alice.delete_with("/caches/main/members", json!({"user": "bob"})).await.message();
    assert_eq!(reads(&server, &other).await, StatusCode::NOT_FOUND);
    assert_eq!(reads(&server, &token).await, StatusCode::OK);
}

async fn a_subscriber_is_out_at_once(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    private_cache(&server, &token).await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    alice.post("/orgs/acme/users", json!({"user": "bob", "role": "View"})).await.message();
    assert_eq!(reads(&server, &other).await, StatusCode::NOT_FOUND);
    alice.post("/orgs/acme/subscribe/main", json!({"mode": "read_only"})).await.message();
    assert_eq!(reads(&server, &other).await, StatusCode::OK);
    alice.delete_with("/orgs/acme/users", json!({"user": "bob"})).await.message();
    assert_eq!(reads(&server, &other).await, StatusCode::NOT_FOUND);
    alice.post("/orgs/acme/users", json!({"user": "bob", "role": "View"})).await.message();
    assert_eq!(reads(&server, &other).await, StatusCode::OK);
    alice.delete("/orgs/acme/subscribe/main").await.message();
    assert_eq!(reads(&server, &other).await, StatusCode::NOT_FOUND);
}
