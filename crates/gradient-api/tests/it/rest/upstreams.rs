//! Upstreams of caches.

use serde_json::{Value, json};

use crate::server::Server;

gradient_test_support::both_databases!(
    an_upstream_is_added_changed_and_removed,
    what_cannot_be_an_upstream_is_refused,
    no_cache_looks_into_itself,
    who_may_not_manage_upstreams_may_look,
    private_networks_are_not_asked,
);

const KEY: &str = "cache.example-1:HwJsliT3Q4XCj+tBZhyTe6Vj+KeZSk4/a+DLzDR0qH0=";
const OTHER_KEY: &str = "cache.example-2:HwJsliT3Q4XCj+tBZhyTe6Vj+KeZSk4/a+DLzDR0qH0=";
const URL: &str = "http://upstream.invalid/main";

async fn an_upstream_is_added_changed_and_removed(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.cache("main", false).await;
    alice.cache("second", false).await;
    let path = "/caches/main/upstreams";
    assert_eq!(alice.get(path).await.message(), json!([]));
    let body = json!({"display_name": "Upstream", "url": format!("{URL}/"), "public_key": KEY});
    let first = alice.put(path, body.clone()).await.message();
    assert_eq!(alice.put(path, body).await.error(), (409, "already_exists"));
    let second = alice.put(path, json!({"cache": "second"})).await.message();
    assert_eq!(alice.put(path, json!({"display_name": "x", "cache": "second"})).await.error(), (409, "already_exists"));
    let mut shown = alice.get(path).await.message();
    for upstream in shown.as_array_mut().unwrap() {
        assert!(upstream["created_at"].take().is_string());
    }
    let expected = json!([
        {"id": first, "display_name": "Upstream", "url": URL, "public_key": KEY, "cache": null, "created_at": null},
        {"id": second, "display_name": "second", "url": null, "public_key": null, "cache": "second", "created_at": null},
    ]);
    assert_eq!(shown, expected);

    let one = |id: &Value| format!("{path}/{}", id.as_str().unwrap());
    alice.patch(&one(&first), json!({"display_name": "Other", "public_key": OTHER_KEY})).await.message();
    alice.patch(&one(&first), json!({})).await.message();
    let changed = alice.get(path).await.message();
    assert_eq!(
        (&changed[0]["display_name"], &changed[0]["url"], &changed[0]["public_key"]),
        (&json!("Other"), &json!(URL), &json!(OTHER_KEY))
    );
    assert_eq!(alice.patch(&one(&first), json!({"cache": "second"})).await.error(), (400, "validation"));
    assert_eq!(alice.patch(&one(&second), json!({"url": URL})).await.error(), (400, "validation"));
    assert_eq!(alice.patch("/caches/second/upstreams/x", json!({})).await.error(), (404, "not_found"));
    let elsewhere = format!("/caches/second/upstreams/{}", first.as_str().unwrap());
    assert_eq!(alice.patch(&elsewhere, json!({"display_name": "x"})).await.error(), (404, "not_found"));
    assert_eq!(alice.delete(&elsewhere).await.error(), (404, "not_found"));

    alice.delete("/caches/second").await.message();
    assert_eq!(alice.get(path).await.message().as_array().unwrap().len(), 1, "an upstream goes with its cache");
    alice.delete(&one(&first)).await.message();
    assert_eq!(alice.delete(&one(&first)).await.error(), (404, "not_found"));
    assert_eq!(alice.get(path).await.message(), json!([]));
}

async fn what_cannot_be_an_upstream_is_refused(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.cache("main", false).await;
    let with = |url: &str| json!({"url": url, "public_key": KEY});
    for (body, words) in [
        (with("cache.example.com"), "url"),
        (with("ftp://cache.example.com"), "url"),
        (with("file:///nix"), "url"),
        (with("https://user:secret@cache.example.com"), "user name or password"),
        (with("https://cache.example.com?x"), "query"),
        (with(&format!("{}/cache/other", server.url)), "a cache of this server"),
        (json!({"url": URL, "public_key": "no key"}), "public_key"),
        (json!({"url": URL, "public_key": "name:AAAA"}), "public_key"),
        (json!({"url": URL}), "public_key"),
        (json!({"public_key": KEY}), "url"),
        (json!({"url": URL, "public_key": KEY, "cache": "main"}), "either"),
        (json!({}), "either"),
    ] {
        let answer = alice.put("/caches/main/upstreams", body.clone()).await;
        assert_eq!(answer.error(), (400, "validation"), "{body}");
        assert!(answer.sentence().contains(words), "{words:?} is missing in {answer:?}");
        assert!(!answer.sentence().contains("secret"));
    }
    let named = json!({"display_name": "\n", "url": URL, "public_key": KEY});
    assert_eq!(alice.put("/caches/main/upstreams", named).await.error(), (400, "invalid_name"));
    for cache in ["nothing", "No Name"] {
        assert_eq!(alice.put("/caches/main/upstreams", json!({"cache": cache})).await.error(), (404, "not_found"));
    }
    for number in 0..16 {
        alice.put("/caches/main/upstreams", with(&format!("{URL}/{number}"))).await.message();
    }
    assert_eq!(alice.put("/caches/main/upstreams", with(URL)).await.error(), (409, "conflict"));
}

async fn no_cache_looks_into_itself(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    for name in ["a", "b", "c"] {
        alice.cache(name, false).await;
    }
    let add = async |to: &str, cache: &str| alice.put(&format!("/caches/{to}/upstreams"), json!({"cache": cache})).await;
    assert_eq!(add("a", "a").await.error(), (409, "conflict"));
    add("a", "b").await.message();
    let id = add("b", "c").await.message();
    assert_eq!(add("c", "a").await.error(), (409, "conflict"));
    assert_eq!(add("b", "a").await.error(), (409, "conflict"));
    add("a", "c").await.message();
    let one = format!("/caches/b/upstreams/{}", id.as_str().unwrap());
    assert_eq!(alice.patch(&one, json!({"cache": "a"})).await.error(), (409, "conflict"));
    let both = tokio::join!(add("x", "b"), add("c", "b"));
    assert_eq!(both.0.error(), (404, "not_found"));
    assert_eq!(both.1.error(), (409, "conflict"));
}

async fn who_may_not_manage_upstreams_may_look(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    alice.cache("main", true).await;
    alice.cache("hidden", false).await;
    let id = alice.put("/caches/main/upstreams", json!({"cache": "hidden"})).await.message();
    alice.put("/caches/main/upstreams", json!({"url": URL, "public_key": KEY})).await.message();
    let one = format!("/caches/main/upstreams/{}", id.as_str().unwrap());
    for client in [server.anonymous(), bob] {
        let seen = client.get("/caches/main/upstreams").await.message();
        assert_eq!((seen.as_array().unwrap().len(), &seen[0]["url"]), (1, &json!(URL)), "not what is a secret elsewhere");
    }
    assert_eq!(bob.put("/caches/main/upstreams", json!({"cache": "hidden"})).await.error(), (403, "forbidden"));
    assert_eq!(bob.patch(&one, json!({})).await.error(), (403, "forbidden"));
    assert_eq!(bob.delete(&one).await.error(), (403, "forbidden"));
    assert_eq!(server.anonymous().delete(&one).await.error(), (401, "unauthorized"));
    assert_eq!(bob.get("/caches/hidden/upstreams").await.error(), (404, "not_found"));

    let janitor = json!({"name": "janitor", "permissions": ["viewCache", "manageCacheUpstreams"]});
    alice.post("/caches/main/roles", janitor).await.message();
    alice.post("/caches/main/members", json!({"user": "bob", "role": "janitor"})).await.message();
    assert_eq!(bob.get("/caches/main/upstreams").await.message().as_array().unwrap().len(), 2);
    let again = bob.put("/caches/main/upstreams", json!({"cache": "hidden"})).await;
    assert_eq!(again.error(), (404, "not_found"), "whoever may not read a cache cannot make others read it");
    bob.delete(&one).await.message();
    let key = alice.key(json!({"name": "k", "permissions": ["viewCache", "readStore"]})).await;
    assert_eq!(server.with(&key).put("/caches/main/upstreams", json!({"cache": "hidden"})).await.error(), (403, "forbidden"));
}

async fn private_networks_are_not_asked(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.cache("main", false).await;
    for url in [
        "http://127.0.0.1:1",
        "http://localhost:1",
        "http://10.0.0.1/x",
        "http://169.254.169.254/latest",
        "http://[::1]:1",
        "http://0x7f.1",
    ] {
        let answer = alice.put("/caches/main/upstreams", json!({"url": url, "public_key": KEY})).await;
        assert_eq!(answer.error(), (400, "validation"), "{url}");
        assert!(answer.sentence().contains("not allowed"), "{answer:?}");
    }
}
