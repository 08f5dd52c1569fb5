//! Roles: the built-in ones, and those that organizations and caches make.

use gradient_domain::{BuiltInRole, RoleId, RoleScope};
use gradient_storage::roles::built_in;
use serde_json::{Value, json};

use crate::server::Server;

gradient_test_support::both_databases!(
    built_in_roles_are_listed,
    a_role_takes_effect_at_once,
    a_role_that_somebody_has_stays,
    built_in_roles_stay_as_they_are,
    caches_make_roles_of_their_own,
    what_cannot_be_a_role_is_refused,
    roles_of_others_are_not_there,
);

async fn built_in_roles_are_listed(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    alice.cache("main", false).await;
    let names = |roles: serde_json::Value| {
        let names = roles["roles"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let of_the_organization = alice.get("/orgs/acme/roles").await.message();
    assert_eq!(of_the_organization["roles"][2]["permissions"], json!(["viewOrg"]));
    assert_eq!(names(of_the_organization), ["Admin", "Write", "View"]);
    let of_the_cache = alice.get("/caches/main/roles").await.message();
    assert_eq!(of_the_cache["roles"][1]["permissions"], json!(["viewCache", "readStore", "writeStore"]));
    assert_eq!(names(of_the_cache), ["Admin", "Write", "View"]);
}

async fn a_role_takes_effect_at_once(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    alice.organization("acme", false).await;
    let id = alice.post("/orgs/acme/roles", json!({"name": "release", "permissions": ["viewOrg"]})).await.message();
    let all = alice.get("/orgs/acme/roles").await.message();
    assert_eq!(all["roles"][3], json!({"id": id, "name": "release", "permissions": ["viewOrg"], "built_in": false}));
    alice.post("/orgs/acme/users", json!({"user": "bob", "role": "release"})).await.message();
    assert_eq!(bob.get("/orgs/acme").await.message()["role"], json!("release"));

    let project = json!({"name": "w", "display_name": "w", "repository": "https://example.com/a", "wildcard": "checks.*"});
    assert_eq!(bob.put("/projects/acme", project.clone()).await.error(), (403, "forbidden"));
    let one = format!("/orgs/acme/roles/{}", id.as_str().unwrap());
    alice.patch(&one, json!({"permissions": ["viewOrg", "createProject"]})).await.message();
    bob.put("/projects/acme", project).await.message();
    alice.patch(&one, json!({"name": "builder"})).await.message();
    let renamed = bob.get("/orgs/acme/roles").await.message();
    let expected = json!({"id": id, "name": "builder", "permissions": ["viewOrg", "createProject"], "built_in": false});
    assert_eq!(renamed["roles"][3], expected);
    alice.patch(&one, json!({"permissions": []})).await.message();
    assert_eq!(bob.get("/orgs/acme").await.error(), (404, "not_found"));
}

async fn a_role_that_somebody_has_stays(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    server.signed_in("bob").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    let id = alice.post("/orgs/acme/roles", json!({"name": "release", "permissions": ["viewOrg"]})).await.message();
    let one = format!("/orgs/acme/roles/{}", id.as_str().unwrap());
    alice.post("/orgs/acme/users", json!({"user": "bob", "role": "release"})).await.message();
    assert_eq!(alice.delete(&one).await.error(), (400, "validation"));
    alice.patch("/orgs/acme/users", json!({"user": "bob", "role": "View"})).await.message();
    alice.delete(&one).await.message();
    assert_eq!(alice.delete(&one).await.error(), (404, "not_found"));
    assert_eq!(alice.patch(&one, json!({"name": "again"})).await.error(), (404, "not_found"));
    // Its name is free again.
    alice.post("/orgs/acme/roles", json!({"name": "release", "permissions": []})).await.message();
}

async fn built_in_roles_stay_as_they_are(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    alice.cache("main", false).await;
    for role in BuiltInRole::ALL.iter().copied() {
        for (path, scope) in [("/orgs/acme", RoleScope::Organization), ("/caches/main", RoleScope::Cache)] {
            let one = format!("{path}/roles/{}", built_in(scope, role));
            assert_eq!(alice.patch(&one, json!({"permissions": []})).await.error(), (403, "forbidden"), "{one}");
            assert_eq!(alice.delete(&one).await.error(), (403, "forbidden"), "{one}");
            let again = json!({"name": role.as_str(), "permissions": []});
            assert_eq!(alice.post(&format!("{path}/roles"), again).await.error(), (409, "already_exists"), "{one}");
        }
    }
    assert_eq!(alice.get("/orgs/acme").await.message()["role"], json!("Admin"));
}

async fn caches_make_roles_of_their_own(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    alice.cache("main", false).await;
    let wanted = json!({"name": "janitor", "permissions": ["viewCache", "manageCacheSettings"]});
    let id = alice.post("/caches/main/roles", wanted).await.message();
    alice.post("/caches/main/members", json!({"user": "bob", "role": "janitor"})).await.message();
    bob.patch("/caches/main", json!({"priority": 30})).await.message();
    let one = format!("/caches/main/roles/{}", id.as_str().unwrap());
    assert_eq!(bob.patch(&one, json!({"permissions": ["deleteCache"]})).await.error(), (403, "forbidden"));
    alice.patch(&one, json!({"permissions": ["viewCache"]})).await.message();
    assert_eq!(bob.patch("/caches/main", json!({"priority": 20})).await.error(), (403, "forbidden"));
    assert_eq!(alice.delete(&one).await.error(), (400, "validation"));
    alice.delete_with("/caches/main/members", json!({"user": "bob"})).await.message();
    alice.delete(&one).await.message();
    assert_eq!(alice.get("/caches/main/roles").await.message()["roles"].as_array().unwrap().len(), 3);
}

async fn what_cannot_be_a_role_is_refused(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    let id = alice.post("/orgs/acme/roles", json!({"name": "release", "permissions": ["viewOrg"]})).await.message();
    let one = format!("/orgs/acme/roles/{}", id.as_str().unwrap());
    let create = async |body: Value| alice.post("/orgs/acme/roles", body).await;
    let check = async |body: Value, expected: (u16, &str)| {
        assert_eq!(create(body.clone()).await.error(), expected, "POST {body}");
    };
    for name in ["", "Release", "-release", "release-", "a b", "a/b", "..", &"a".repeat(65)] {
        check(json!({"name": name, "permissions": []}), (400, "invalid_name")).await;
        assert_eq!(alice.patch(&one, json!({"name": name})).await.error(), (400, "invalid_name"), "{name:?}");
    }
    assert_eq!(create(json!({"name": "a\u{0}", "permissions": []})).await.error().0, 400);
    for permissions in [json!(["fly"]), json!(["viewOrg", ""]), json!(["vieworg"]), json!(["viewCache"])] {
        check(json!({"name": "other", "permissions": permissions}), (400, "validation")).await;
        assert_eq!(alice.patch(&one, json!({"permissions": permissions})).await.error(), (400, "validation"));
    }
    let sentence = create(json!({"name": "other", "permissions": ["fly"]})).await;
    assert!(sentence.sentence().contains("`fly`"), "{}", sentence.sentence());
    check(json!({"name": "release", "permissions": []}), (409, "already_exists")).await;
    check(json!({"name": "other"}), (400, "bad_request")).await;
    check(json!({"name": "other", "permissions": "viewOrg"}), (400, "bad_request")).await;
    create(json!({"name": "other", "permissions": ["viewOrg", "viewOrg"]})).await.message();
    assert_eq!(alice.patch(&one, json!({"name": "other"})).await.error(), (409, "already_exists"));
    assert_eq!(alice.patch("/orgs/acme/roles/other", json!({})).await.error(), (404, "not_found"));
    alice.patch(&one, json!({})).await.message();
    let kept = alice.get("/orgs/acme/roles").await.message();
    assert_eq!((&kept["roles"][4]["name"], &kept["roles"][4]["permissions"]), (&json!("release"), &json!(["viewOrg"])));
}

async fn roles_of_others_are_not_there(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    for name in ["acme", "other"] {
        alice.organization(name, false).await;
        alice.cache(name, false).await;
    }
    let make = async |path: &str| {
        let id = alice.post(path, json!({"name": "release", "permissions": []})).await.message();
        id.as_str().unwrap().to_owned()
    };
    let (acme, cache) = (make("/orgs/acme/roles").await, make("/caches/acme/roles").await);
    make("/orgs/other/roles").await;
    let unknown = RoleId::new().to_string();
    let of_a_cache = built_in(RoleScope::Cache, BuiltInRole::View).to_string();
    for (path, id) in [
        ("/orgs/other/roles", &acme),
        ("/caches/acme/roles", &acme),
        ("/orgs/acme/roles", &cache),
        ("/caches/other/roles", &cache),
        ("/orgs/acme/roles", &of_a_cache),
        ("/orgs/acme/roles", &unknown),
    ] {
        let one = format!("{path}/{id}");
        assert_eq!(alice.patch(&one, json!({"name": "taken-over"})).await.error(), (404, "not_found"), "{one}");
        assert_eq!(alice.delete(&one).await.error(), (404, "not_found"), "{one}");
    }
    assert_eq!(alice.get("/orgs/acme/roles").await.message()["roles"][3]["name"], json!("release"));
}
