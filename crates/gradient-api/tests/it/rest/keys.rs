//! API keys: what they may do, where, and who manages them.

use serde_json::json;

use crate::server::Server;

gradient_test_support::both_databases!(
    a_key_does_what_it_may,
    keys_do_not_manage_keys,
    a_pinned_key_works_in_its_place_only,
    bad_keys_are_refused,
    a_key_is_changed_without_a_new_secret,
    lists_show_what_a_key_may_see,
    a_key_for_what_is_deleted_is_gone,
    a_user_has_so_many_keys_and_no_more,
);

async fn a_key_does_what_it_may(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    let looks = alice.key(json!({"name": "looks", "permissions": ["viewOrg"]})).await;
    assert!(looks.starts_with("GRAD") && looks.len() == 68);
    server.with(&looks).get("/orgs/acme").await.message();
    assert_eq!(server.with(&looks).delete("/orgs/acme").await.error(), (403, "forbidden"));
    let creates = alice.key(json!({"name": "creates", "permissions": ["createProject"]})).await;
    assert_eq!(server.with(&creates).get("/orgs/acme").await.error(), (404, "not_found"));
    server.with(&creates).project("acme", "web").await;

    let keys = alice.get("/user/keys").await.message();
    let names: Vec<_> = keys.as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["creates", "looks"]);
    assert!(keys[1]["last_used_at"].is_string() && !keys.to_string().contains(&looks));
    alice.delete_with("/user/keys", json!({"name": "looks"})).await.message();
    assert_eq!(server.with(&looks).get("/orgs/acme").await.error(), (401, "unauthorized"));
    assert_eq!(alice.delete_with("/user/keys", json!({"name": "looks"})).await.error(), (404, "not_found"));
}

async fn keys_do_not_manage_keys(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let key = server.with(&token).key(json!({"name": "k", "permissions": ["viewOrg"]})).await;
    let client = server.with(&key);
    let created = client.post("/user/keys", json!({"name": "sibling", "permissions": ["deleteOrg"]})).await;
    assert_eq!(created.error(), (403, "forbidden"));
    assert_eq!(client.get("/user/keys").await.error(), (403, "forbidden"));
    assert_eq!(client.delete_with("/user/keys", json!({"name": "k"})).await.error(), (403, "forbidden"));
    let id = server.with(&token).get("/user/keys").await.message()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        client.patch(&format!("/user/keys/{id}"), json!({"permissions": ["deleteOrg"]})).await.error(),
        (403, "forbidden")
    );
    assert_eq!(client.put("/orgs", json!({"name": "mine", "display_name": "Mine"})).await.error(), (403, "forbidden"));
}

async fn a_pinned_key_works_in_its_place_only(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    alice.organization("other", true).await;
    alice.cache("main", false).await;
    alice.cache("second", true).await;
    let all = json!(["viewOrg", "deleteOrg", "viewCache", "readStore"]);
    let pinned = alice.key(json!({"name": "pinned", "permissions": all, "organization": "acme"})).await;
    server.with(&pinned).get("/orgs/acme").await.message();
    assert_eq!(server.with(&pinned).get("/orgs/other").await.error(), (404, "not_found"));
    assert_eq!(server.with(&pinned).get("/orgs").await.message()["total"], json!(1));

    let body = json!({"name": "cached", "permissions": ["viewCache", "deleteCache"], "cache": "main"});
    let on_a_cache = alice.key(body).await;
    server.with(&on_a_cache).get("/caches/main").await.message();
    assert_eq!(server.with(&on_a_cache).get("/caches/second").await.error(), (404, "not_found"));
    assert_eq!(server.with(&on_a_cache).get("/orgs/other").await.error(), (404, "not_found"));
    assert_eq!(server.with(&on_a_cache).get("/caches").await.message()["total"], json!(1));
    for path in ["/user", "/user/settings", "/orgs"] {
        assert_eq!(server.with(&on_a_cache).get(path).await.error(), (403, "forbidden"), "{path}");
    }
    assert_eq!(server.anonymous().get("/caches").await.error(), (401, "unauthorized"));
}

async fn bad_keys_are_refused(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let (stranger, alice) = (server.signed_in("bob").await, server.with(&token));
    alice.organization("acme", false).await;
    alice.cache("main", true).await;
    for (body, expected) in [
        (json!({"name": "k", "permissions": ["fly"]}), (400, "validation")),
        (json!({"name": "k", "permissions": []}), (400, "validation")),
        (json!({"name": "k", "permissions": ["viewOrg"], "organization": "acme", "cache": "main"}), (400, "bad_request")),
        (json!({"name": "k", "permissions": ["viewOrg"], "cache": "main"}), (400, "validation")),
        (json!({"name": "k", "permissions": ["viewOrg"], "organization": "nope"}), (404, "not_found")),
        (json!({"name": "k", "permissions": ["viewCache"], "cache": "nope"}), (404, "not_found")),
        (json!({"name": "k", "permissions": ["viewOrg"], "expires_in_days": 0}), (400, "bad_request")),
        (json!({"name": "k", "permissions": ["viewOrg"], "expires_in_days": -1}), (400, "bad_request")),
        (json!({"name": "k", "permissions": ["viewOrg"], "expires_in_days": 36501}), (400, "bad_request")),
        (json!({"name": "k", "permissions": ["viewOrg"], "expires_in_days": 4_000_000_000_u32}), (400, "bad_request")),
        (json!({"name": "\n", "permissions": ["viewOrg"]}), (400, "invalid_name")),
    ] {
        assert_eq!(alice.post("/user/keys", body.clone()).await.error(), expected, "{body}");
    }
    let unseen = json!({"name": "k", "permissions": ["viewOrg"], "organization": "acme"});
    assert_eq!(server.with(&stranger).post("/user/keys", unseen).await.error(), (404, "not_found"));
    let not_managed = json!({"name": "k", "permissions": ["viewCache"], "cache": "main"});
    assert_eq!(server.with(&stranger).post("/user/keys", not_managed).await.error(), (403, "forbidden"));
    let twice = json!({"name": "k", "permissions": ["viewOrg"]});
    alice.key(twice.clone()).await;
    assert_eq!(alice.post("/user/keys", twice).await.error(), (409, "already_exists"));
}

async fn a_key_is_changed_without_a_new_secret(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    let key = alice.key(json!({"name": "k", "permissions": ["viewOrg", "deleteOrg"], "expires_in_days": 1})).await;
    let id = alice.get("/user/keys").await.message()[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/user/keys/{id}");
    alice.patch(&path, json!({"name": "renamed", "permissions": ["viewOrg"], "organization": "acme"})).await.message();
    let changed = &alice.get("/user/keys").await.message()[0];
    assert_eq!(
        (&changed["name"], &changed["permissions"], &changed["organization"]),
        (&json!("renamed"), &json!(["viewOrg"]), &json!("acme"))
    );
    assert_eq!(server.with(&key).delete("/orgs/acme").await.error(), (403, "forbidden"));
    alice.patch(&path, json!({"organization": null})).await.message();
    assert_eq!(alice.get("/user/keys").await.message()[0]["organization"], json!(null));
    assert_eq!(alice.patch("/user/keys/x", json!({})).await.error(), (404, "not_found"));

    let catalogue = alice.get("/user/keys/permissions").await.message();
    assert_eq!(catalogue["available_permissions"].as_array().unwrap().len(), 13);
    assert_eq!(catalogue["availableCache"][0], json!({"id": "viewCache", "mutating": false}));
}

async fn lists_show_what_a_key_may_see(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    alice.organization("acme", false).await;
    alice.organization("beta", false).await;
    bob.organization("open", true).await;
    alice.cache("own", false).await;
    alice.cache("read", false).await;
    bob.cache("shown", true).await;
    alice.post("/orgs/acme/subscribe/read", json!({})).await.message();
    let listed = async |body: serde_json::Value, path: &str| {
        let key = alice.key(body).await;
        let page = server.with(&key).get(path).await.message();
        let names = page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned());
        let names: Vec<_> = names.collect();
        assert_eq!(page["total"], json!(names.len()), "what is not shown is not counted");
        names.join(" ")
    };
    let key = |name: &str, permission: &str| json!({"name": name, "permissions": [permission]});
    assert_eq!(listed(key("1", "viewOrg"), "/orgs").await, "acme beta open");
    assert_eq!(listed(key("2", "triggerEvaluation"), "/orgs").await, "open");
    assert_eq!(listed(key("3", "viewCache"), "/caches").await, "own read shown");
    assert_eq!(listed(key("4", "readStore"), "/caches").await, "shown");
    let pinned = |name: &str, permission: &str| json!({"name": name, "permissions": [permission], "organization": "acme"});
    assert_eq!(listed(pinned("5", "viewOrg"), "/orgs").await, "acme");
    assert_eq!(listed(pinned("6", "viewCache"), "/orgs").await, "");
    assert_eq!(listed(pinned("7", "viewCache"), "/caches").await, "read shown", "what the organization reads");
    let on_a_cache = |name: &str, permission: &str| json!({"name": name, "permissions": [permission], "cache": "own"});
    assert_eq!(listed(on_a_cache("8", "viewCache"), "/caches").await, "own");
    assert_eq!(listed(on_a_cache("9", "readStore"), "/caches").await, "");

    // A member whose role shows nothing is like everybody else.
    let id = bob.post("/orgs/open/roles", json!({"name": "blind", "permissions": []})).await.message();
    assert!(id.is_string());
    bob.patch("/orgs/open", json!({"public": false})).await.message();
    bob.post("/orgs/open/users", json!({"user": "alice", "role": "blind"})).await.message();
    assert_eq!(alice.get("/orgs").await.message()["total"], json!(2));
}

async fn a_key_for_what_is_deleted_is_gone(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    alice.cache("main", false).await;
    let pinned = alice.key(json!({"name": "o", "permissions": ["viewOrg"], "organization": "acme"})).await;
    let on_a_cache = alice.key(json!({"name": "c", "permissions": ["viewCache"], "cache": "main"})).await;
    alice.delete("/orgs/acme").await.message();
    alice.delete("/caches/main").await.message();
    assert_eq!(alice.get("/user/keys").await.message(), json!([]), "none of them looks as if it were good everywhere");
    for key in [pinned, on_a_cache] {
        assert_eq!(server.with(&key).get("/caches").await.error(), (401, "unauthorized"));
    }
}

async fn a_user_has_so_many_keys_and_no_more(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let alice = server.with(&token);
    let make = async |name: &str| alice.post("/user/keys", json!({"name": name, "permissions": ["viewOrg"]})).await;
    for number in 0..99 {
        make(&format!("key-{number}")).await.message();
    }
    let (first, second) = tokio::join!(make("first"), make("second"));
    let refused: Vec<_> = [first, second].into_iter().filter(|answer| answer.status == 409).collect();
    let [refused] = refused.as_slice() else { panic!("one of them: {refused:?}") };
    assert_eq!(refused.error(), (409, "conflict"));
    assert!(refused.sentence().contains("100"), "{}", refused.sentence());
    alice.delete_with("/user/keys", json!({"name": "key-1"})).await.message();
    make("third").await.message();
    assert_eq!(make("fourth").await.error(), (409, "conflict"));
    server.with(&other).key(json!({"name": "own", "permissions": ["viewOrg"]})).await;
}
