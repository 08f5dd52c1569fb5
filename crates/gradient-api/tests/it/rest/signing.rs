//! Caches whose keys workers have.

use std::time::Duration;

use gradient_domain::CacheId;
use gradient_nix::SigningKey;
use serde_json::{Value, json};

use super::{
    Client,
    worker::{Worker, soon},
};
use crate::{
    cache_root::published::{APP, HELLO, publish_app, publish_hello},
    server::Server,
};

gradient_test_support::both_databases!(
    what_is_published_is_served_once_a_worker_has_signed_it,
    what_is_stored_is_signed_anew,
    a_liar_is_refused_and_another_worker_asked,
    only_workers_that_both_sides_chose_sign,
    the_server_signs_again,
);

const KEYS: &str = "/caches/main/keys";

fn key(name: &str) -> SigningKey {
    SigningKey::from_bytes(name, &[7; 32]).unwrap()
}

/// The signatures of a path, when the cache serves it.
async fn signatures(server: &Server, path: &str) -> Option<Vec<String>> {
    let (hash, _) = path.split_once('-').unwrap();
    let answer = server.http.get(format!("{}/cache/main/{hash}.narinfo", server.url)).send().await.unwrap();
    if answer.status() == 404 {
        return None;
    }
    let text = answer.error_for_status().unwrap().text().await.unwrap();
    Some(text.lines().filter_map(|line| line.strip_prefix("Sig: ")).map(str::to_owned).collect())
}

async fn until(mut is_met: impl AsyncFnMut() -> bool) {
    soon(async {
        let mut pause = tokio::time::interval(Duration::from_millis(10));
        while !is_met().await {
            pause.tick().await;
        }
    })
    .await;
}

/// Until so many keys have signed the path that the cache serves.
async fn until_signed(server: &Server, path: &str, keys: usize) -> Vec<String> {
    until(async || signatures(server, path).await.is_some_and(|signatures| signatures.len() == keys)).await;
    signatures(server, path).await.unwrap()
}

/// A cache that acme's workers sign with this key; the key that the server has is not retired.
async fn signed_by(alice: Client<'_>, key: &SigningKey) -> CacheId {
    alice.organization("acme", false).await;
    let id = alice.cache("main", true).await;
    sign_with(alice, key).await;
    serde_json::from_value(id).unwrap()
}

async fn sign_with(alice: Client<'_>, key: &SigningKey) {
    let body = json!({"signing": "worker", "public_key": key.public().to_string(), "organization": "acme"});
    alice.patch("/caches/main", body).await.message();
}

async fn shown(alice: Client<'_>, key: &SigningKey) -> Value {
    let keys = alice.get(KEYS).await.message();
    keys.as_array().unwrap().iter().find(|shown| shown["name"] == key.name()).unwrap().clone()
}

async fn retire(alice: Client<'_>, name: &str) {
    let keys = alice.get(KEYS).await.message();
    let one = keys.as_array().unwrap().iter().find(|shown| shown["name"] == name).unwrap().clone();
    alice.delete(&format!("{KEYS}/{}", one["id"].as_str().unwrap())).await.message();
}

async fn what_is_published_is_served_once_a_worker_has_signed_it(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let (alice, key) = (server.with(&token), key("acme-1"));
    let id = signed_by(alice, &key).await;
    let cache = alice.get("/caches/main").await.message();
    assert_eq!((&cache["signing"], &cache["public_key"]), (&json!("worker"), &json!(key.public().to_string())));
    publish_hello(&server, id).await;
    publish_app(&server, id).await;
    assert_eq!(signatures(&server, APP).await, None);
    let waiting = shown(alice, &key).await;
    assert_eq!((&waiting["held_by"], &waiting["unsigned"], &waiting["withheld"]), (&json!("worker"), &json!(2), &json!(2)));
    assert_eq!(waiting["waiting_reason"], json!({"kind": "no_worker"}));

    // Somebody who says that he is it, and is refused, is not in its way.
    let bob = server.signed_in("bob").await;
    let bob = server.with(&bob);
    bob.organization("others", false).await;
    let mut real = Worker::connect_with_keys(alice, "acme", vec![key.public().to_string()]).await;
    let (number, ..) = real.next_to_sign().await;
    let imitation = Worker::hello(bob, "others", real.id, vec![key.public().to_string()]).await;
    assert!(server.engine.open_worker_session(imitation).await.is_err());
    real.answer_with_signatures(number, Err("not today".to_owned())).await;
    until(async || shown(alice, &key).await["waiting_reason"]["kind"] == "not_signed").await;
    real.leave().await;

    // A worker that goes away without an answer has lost nothing.
    let mut gone = Worker::connect_with_keys(alice, "acme", vec![key.public().to_string()]).await;
    let (.., asked) = gone.next_to_sign().await;
    assert!(asked[0].contains(HELLO) && asked[1].contains(APP), "what a path refers to is signed first: {asked:?}");
    gone.leave().await;
    let mut worker = Worker::connect_with_keys(alice, "acme", vec![key.public().to_string()]).await;
    assert_eq!(worker.sign(&key).await, asked);
    let made = until_signed(&server, APP, 2).await;
    assert!(made.iter().any(|signature| key.public().verifies(&asked[1], signature)), "{made:?}");
    let signed = shown(alice, &key).await;
    assert_eq!((&signed["unsigned"], &signed["waiting_reason"]), (&json!(0), &json!(null)));

    alice.patch("/caches/main", json!({"signing": "worker"})).await.message();
    retire(alice, "127.0.0.1-main").await;
    let made = signatures(&server, APP).await.unwrap();
    assert!(matches!(made.as_slice(), [one] if key.public().verifies(&asked[1], one)), "the server has no key: {made:?}");
}

async fn what_is_stored_is_signed_anew(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let (alice, first, second) = (server.with(&token), key("acme-1"), SigningKey::from_bytes("acme-2", &[8; 32]).unwrap());
    alice.organization("acme", false).await;
    let id: CacheId = serde_json::from_value(alice.cache("main", true).await).unwrap();
    publish_hello(&server, id).await;
    publish_app(&server, id).await;
    sign_with(alice, &first).await;
    assert_eq!(signatures(&server, APP).await.unwrap().len(), 1, "it is served as it was");
    let held = vec![first.public().to_string(), second.public().to_string()];
    let mut worker = Worker::connect_with_keys(alice, "acme", held).await;
    assert_eq!(worker.sign(&first).await.len(), 2);
    until_signed(&server, APP, 2).await;
    retire(alice, "127.0.0.1-main").await;
    assert_eq!(signatures(&server, APP).await.unwrap().len(), 1);

    sign_with(alice, &second).await;
    assert_eq!(signatures(&server, APP).await.unwrap().len(), 1, "it is served as it was");
    let early = shown(alice, &first).await["id"].as_str().unwrap().to_owned();
    let refused = alice.delete(&format!("{KEYS}/{early}")).await;
    assert_eq!(refused.error(), (409, "conflict"), "nothing else has signed what is served");
    assert_eq!(worker.sign(&second).await.len(), 2);
    let made = until_signed(&server, APP, 2).await;
    for name in ["acme-1:", "acme-2:"] {
        assert!(made.iter().any(|signature| signature.starts_with(name)), "{made:?}");
    }
    retire(alice, "acme-1").await;
    let made = signatures(&server, APP).await.unwrap();
    assert!(matches!(made.as_slice(), [one] if one.starts_with("acme-2:")), "{made:?}");
    let other = SigningKey::from_bytes("acme-1", &[9; 32]).unwrap();
    let again = |key: &SigningKey| json!({"public_key": key.public().to_string(), "organization": "acme"});
    assert_eq!(alice.post(KEYS, again(&other)).await.error(), (409, "conflict"), "a name is never that of another key");
    assert_eq!(alice.post(KEYS, again(&second)).await.error(), (409, "conflict"), "it is there");
    alice.post(KEYS, again(&first)).await.message();
    assert_eq!(worker.sign(&first).await.len(), 2, "its workers never lost it");
    until_signed(&server, APP, 2).await;
    alice.delete(&format!("{KEYS}/{early}?force=true")).await.message();
    assert_eq!(signatures(&server, APP).await.unwrap().len(), 1);
}

async fn a_liar_is_refused_and_another_worker_asked(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let (alice, key) = (server.with(&token), key("acme-1"));
    let id = signed_by(alice, &key).await;
    publish_hello(&server, id).await;
    let has = || vec![key.public().to_string()];
    let mut liar = Worker::connect_with_keys(alice, "acme", has()).await;
    let (number, _, asked) = liar.next_to_sign().await;
    let forged = SigningKey::from_bytes(key.name(), &[9; 32]).unwrap().sign(&asked[0]);
    // What was not asked for changes nothing.
    liar.answer_with_signatures(number + 1, Ok(vec![key.sign(&asked[0])])).await;
    liar.answer_with_signatures(number, Ok(vec![forged])).await;
    let reason = async || shown(alice, &key).await["waiting_reason"]["kind"].clone();
    until(async || reason().await == "not_signed").await;
    assert_eq!(signatures(&server, HELLO).await, None);

    for wrong in [Ok(vec![]), Ok(vec!["x".to_owned()]), Ok(vec![String::new(); 3]), Err("no".to_owned())] {
        let mut other = Worker::connect_with_keys(alice, "acme", has()).await;
        let (number, ..) = other.next_to_sign().await;
        other.answer_with_signatures(number, wrong).await;
        until(async || reason().await == "not_signed").await;
        other.leave().await;
    }
    assert_eq!(signatures(&server, HELLO).await, None);
    let mut honest = Worker::connect_with_keys(alice, "acme", has()).await;
    assert_eq!(honest.sign(&key).await, asked);
    let made = until_signed(&server, HELLO, 2).await;
    assert!(made.iter().any(|signature| key.public().verifies(&asked[0], signature)), "{made:?}");
}

async fn only_workers_that_both_sides_chose_sign(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob, key) = (server.with(&token), server.with(&other), key("acme-1"));
    let id = signed_by(alice, &key).await;
    publish_hello(&server, id).await;

    // Somebody else's cache is not signed with the key of acme's workers.
    bob.cache("imitation", true).await;
    let body = json!({"signing": "worker", "public_key": key.public().to_string(), "organization": "acme"});
    assert_eq!(bob.patch("/caches/imitation", body.clone()).await.error(), (404, "not_found"));
    assert_eq!(bob.post("/caches/imitation/keys", body.clone()).await.error(), (404, "not_found"));
    alice.post("/orgs/acme/users", json!({"user": "bob", "role": "View"})).await.message();
    assert_eq!(bob.patch("/caches/imitation", body.clone()).await.error(), (403, "forbidden"));
    assert_eq!(bob.patch("/caches/main", body).await.error(), (403, "forbidden"));
    let without = json!({"signing": "worker", "public_key": key.public().to_string()});
    assert_eq!(alice.patch("/caches/main", without).await.error(), (400, "validation"));
    let without = json!({"signing": "server", "public_key": key.public().to_string()});
    assert_eq!(alice.patch("/caches/main", without).await.error(), (400, "validation"));
    assert_eq!(bob.patch("/caches/imitation", json!({"signing": "worker"})).await.error(), (400, "validation"));

    // Who may change settings may not change keys.
    let role = json!({"name": "settings", "permissions": ["viewCache", "manageCacheSettings"]});
    alice.post("/caches/main/roles", role).await.message();
    alice.post("/caches/main/members", json!({"user": "bob", "role": "settings"})).await.message();
    assert_eq!(bob.patch("/caches/main", json!({"signing": "server"})).await.error(), (403, "forbidden"));
    bob.patch("/caches/main", json!({"signing": "worker", "priority": 7})).await.message();

    // Workers of others do not learn what the cache has, whatever key they say they have.
    bob.organization("others", false).await;
    let foreign = Worker::connect_with_keys(bob, "others", vec![key.public().to_string()]).await;
    let keyless =
        Worker::connect_with_keys(alice, "acme", vec![SigningKey::from_bytes("x", &[1; 32]).unwrap().public().to_string()]).await;
    assert_eq!(shown(alice, &key).await["waiting_reason"], json!({"kind": "no_worker"}));
    let mut worker = Worker::connect_with_keys(alice, "acme", vec![key.public().to_string()]).await;
    worker.sign(&key).await;
    until_signed(&server, HELLO, 2).await;
    assert!(foreign.was_asked_nothing() && keyless.was_asked_nothing());
}

async fn the_server_signs_again(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let (alice, key) = (server.with(&token), key("acme-1"));
    let id = signed_by(alice, &key).await;
    publish_hello(&server, id).await;
    assert_eq!(shown(alice, &key).await["withheld"], 1);
    alice.patch("/caches/main", json!({"signing": "server"})).await.message();
    let cache = alice.get("/caches/main").await.message();
    assert_eq!(cache["signing"], "server");
    assert!(cache["public_key"].as_str().unwrap().starts_with("127.0.0.1-main:"), "the key that it had: {cache}");
    assert_eq!(signatures(&server, HELLO).await.unwrap().len(), 1, "nothing waits for a worker any more");
    publish_app(&server, id).await;
    assert_eq!(signatures(&server, APP).await.unwrap().len(), 1);
    // The worker's key is not retired, so it goes on to sign.
    let mut worker = Worker::connect_with_keys(alice, "acme", vec![key.public().to_string()]).await;
    assert_eq!(worker.sign(&key).await.len(), 2);
    until_signed(&server, APP, 2).await;

    retire(alice, "127.0.0.1-main").await;
    assert_eq!(alice.get("/caches/main").await.message()["signing"], "worker");
    alice.patch("/caches/main", json!({"signing": "server"})).await.message();
    let cache = alice.get("/caches/main").await.message();
    assert!(cache["public_key"].as_str().unwrap().starts_with("127.0.0.1-main.3:"), "a new key: {cache}");
    assert_eq!(signatures(&server, APP).await.unwrap().len(), 2);
}
