//! The keys that caches sign with.

use gradient_domain::CacheId;
use gradient_nix::PublicKey;
use serde_json::{Value, json};

use super::Client;
use crate::{
    cache_root::published::{HELLO, publish_hello},
    server::Server,
};

gradient_test_support::both_databases!(
    several_keys_sign_while_clients_change_over,
    a_cache_keeps_a_key,
    what_the_signer_is_may_be_said_again,
);

const KEYS: &str = "/caches/main/keys";

/// What a key signs of the path that [`publish_hello`] published, and the signatures that are served.
async fn signatures(server: &Server) -> (String, Vec<String>) {
    let (hash, _) = HELLO.split_once('-').unwrap();
    let url = format!("{}/cache/main/{hash}.narinfo", server.url);
    let text = server.http.get(url).send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let fingerprint = format!("1;/nix/store/{HELLO};{};{};", field("NarHash: "), field("NarSize: "));
    (fingerprint, text.lines().filter_map(|line| line.strip_prefix("Sig: ")).map(str::to_owned).collect())
}

async fn keys(client: Client<'_>) -> Vec<Value> {
    client.get(KEYS).await.message().as_array().unwrap().clone()
}

fn text<'v>(key: &'v Value, field: &str) -> &'v str {
    key[field].as_str().unwrap()
}

fn public(key: &Value) -> PublicKey {
    text(key, "public_key").parse().unwrap()
}

async fn several_keys_sign_while_clients_change_over(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    let id: CacheId = serde_json::from_value(alice.cache("main", true).await).unwrap();
    publish_hello(&server, id).await;
    let old = keys(server.anonymous()).await.remove(0);
    assert_eq!((&old["name"], &old["held_by"], &old["primary"]), (&json!("127.0.0.1-main"), &json!("server"), &json!(true)));
    let (fingerprint, signed) = signatures(&server).await;
    assert!(matches!(signed.as_slice(), [one] if public(&old).verifies(&fingerprint, one)), "{signed:?}");

    alice.patch("/caches/main", json!({"name": "other"})).await.message();
    alice.patch("/caches/other", json!({"name": "main"})).await.message();
    let new = alice.post(KEYS, json!({})).await.message();
    assert_eq!((&new["name"], &new["primary"]), (&json!("127.0.0.1-main.2"), &json!(true)));
    assert_eq!(server.anonymous().get("/caches/main/key").await.message(), new["public_key"]);
    assert_eq!(server.anonymous().get("/caches/main").await.message()["public_key"], new["public_key"]);
    let listed = keys(server.anonymous()).await;
    assert_eq!((&listed[0]["id"], &listed[1]["id"], &listed[1]["primary"]), (&new["id"], &old["id"], &json!(false)));
    let (fingerprint, signed) = signatures(&server).await;
    assert_eq!(signed.len(), 2, "what was signed before is signed with both");
    for key in [&old, &new] {
        assert!(signed.iter().any(|one| public(key).verifies(&fingerprint, one)), "{key} {signed:?}");
    }

    alice.delete(&format!("{KEYS}/{}", text(&old, "id"))).await.message();
    let (fingerprint, signed) = signatures(&server).await;
    assert!(matches!(signed.as_slice(), [one] if public(&new).verifies(&fingerprint, one)), "{signed:?}");
    assert_eq!(keys(alice).await.len(), 1);
    let third = alice.post(KEYS, json!({})).await.message();
    assert_eq!(third["name"], "127.0.0.1-main.3", "a name is never that of another key");
}

async fn a_cache_keeps_a_key(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    alice.cache("main", true).await;
    alice.cache("second", true).await;
    let only = keys(alice).await.remove(0);
    let one = format!("{KEYS}/{}", text(&only, "id"));
    assert_eq!(alice.delete(&one).await.error(), (409, "conflict"));
    assert_eq!(alice.delete(&one.replace("main", "second")).await.error(), (404, "not_found"), "another cache's");
    assert_eq!(alice.delete(&format!("{KEYS}/x")).await.error(), (404, "not_found"));
    assert_eq!(bob.post(KEYS, json!({})).await.error(), (403, "forbidden"));
    assert_eq!(bob.delete(&one).await.error(), (403, "forbidden"));
    for _ in 0..3 {
        alice.post(KEYS, json!({})).await.message();
    }
    assert_eq!(alice.post(KEYS, json!({})).await.error(), (409, "conflict"), "there is a limit");
    alice.delete(&one).await.message();
    assert_eq!(alice.delete(&one).await.error(), (404, "not_found"));
    alice.post(KEYS, json!({})).await.message();
}

async fn what_the_signer_is_may_be_said_again(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.cache("main", true).await;
    assert_eq!(alice.get("/caches/main").await.message()["signing"], "server");
    alice.patch("/caches/main", json!({"signing": "server"})).await.message();
    assert_eq!(keys(alice).await.len(), 1);
}
