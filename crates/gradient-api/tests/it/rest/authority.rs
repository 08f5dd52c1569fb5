//! Every route that belongs to an organization or a cache, swept by those who may not: nobody, a stranger, a key that may too
//! little, a key for elsewhere.

use reqwest::Method;
use serde_json::json;

use crate::server::Server;

gradient_test_support::both_databases!(those_who_may_not_cannot);

/// A route, with the permission it takes: all that a key may have but that one is not enough.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/orgs/acme", "viewOrg"),
    ("PATCH", "/orgs/acme", "manageOrgSettings"),
    ("DELETE", "/orgs/acme", "deleteOrg"),
    ("GET", "/orgs/acme/users", "viewOrg"),
    ("POST", "/orgs/acme/users", "manageMembers"),
    ("PATCH", "/orgs/acme/users", "manageMembers"),
    ("DELETE", "/orgs/acme/users", "manageMembers"),
    ("GET", "/orgs/acme/roles", "viewOrg"),
    ("POST", "/orgs/acme/roles", "manageRoles"),
    ("PATCH", "/orgs/acme/roles/0191e0a0-0000-7000-8000-000000000001", "manageRoles"),
    ("DELETE", "/orgs/acme/roles/0191e0a0-0000-7000-8000-000000000001", "manageRoles"),
    ("GET", "/orgs/acme/ssh", "viewOrg"),
    ("POST", "/orgs/acme/ssh", "manageSshKey"),
    ("GET", "/orgs/acme/subscribe", "viewOrg"),
    ("POST", "/orgs/acme/subscribe/main", "manageSubscriptions"),
    ("DELETE", "/orgs/acme/subscribe/main", "manageSubscriptions"),
    ("GET", "/orgs/acme/workers", "viewOrg"),
    ("POST", "/orgs/acme/workers", "manageWorkers"),
    ("PATCH", "/orgs/acme/workers/550e8400-e29b-41d4-a716-446655440001", "manageWorkers"),
    ("DELETE", "/orgs/acme/workers/550e8400-e29b-41d4-a716-446655440001", "manageWorkers"),
    ("GET", "/projects/acme", "viewOrg"),
    ("PUT", "/projects/acme", "createProject"),
    ("GET", "/projects/acme/web", "viewOrg"),
    ("PATCH", "/projects/acme/web", "editProject"),
    ("DELETE", "/projects/acme/web", "editProject"),
    ("GET", "/projects/acme/web/details", "viewOrg"),
    ("GET", "/projects/acme/web/entry-points", "viewOrg"),
    ("POST", "/projects/acme/web/check-repository", "editProject"),
    ("POST", "/projects/acme/web/evaluate", "triggerEvaluation"),
    ("POST", "/projects/acme/web/active", "editProject"),
    ("DELETE", "/projects/acme/web/active", "editProject"),
    ("GET", "/caches/main", "viewCache"),
    ("PATCH", "/caches/main", "manageCacheSettings"),
    ("DELETE", "/caches/main", "deleteCache"),
    ("POST", "/caches/main/active", "manageCacheSettings"),
    ("DELETE", "/caches/main/active", "manageCacheSettings"),
    ("GET", "/caches/main/key", "viewCache"),
    ("GET", "/caches/main/public-key", "viewCache"),
    ("GET", "/caches/main/upstreams", "viewCache"),
    ("PUT", "/caches/main/upstreams", "manageCacheUpstreams"),
    ("PATCH", "/caches/main/upstreams/0191e0a0-0000-7000-8000-000000000001", "manageCacheUpstreams"),
    ("DELETE", "/caches/main/upstreams/0191e0a0-0000-7000-8000-000000000001", "manageCacheUpstreams"),
    ("GET", "/caches/main/members", "viewCache"),
    ("POST", "/caches/main/members", "manageCacheMembers"),
    ("PATCH", "/caches/main/members", "manageCacheMembers"),
    ("DELETE", "/caches/main/members", "manageCacheMembers"),
    ("GET", "/caches/main/roles", "viewCache"),
    ("POST", "/caches/main/roles", "manageCacheRoles"),
    ("PATCH", "/caches/main/roles/0191e0a0-0000-7000-8000-000000000001", "manageCacheRoles"),
    ("DELETE", "/caches/main/roles/0191e0a0-0000-7000-8000-000000000001", "manageCacheRoles"),
];

async fn those_who_may_not_cannot(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    alice.organization("elsewhere", false).await;
    alice.project("acme", "web").await;
    alice.cache("main", false).await;

    let catalogue = alice.get("/user/keys/permissions").await.message();
    let all = ["available_permissions", "availableCache"].map(|list| catalogue[list].as_array().unwrap().clone()).concat();
    let all: Vec<String> = all.iter().map(|permission| permission["id"].as_str().unwrap().to_owned()).collect();
    let elsewhere = alice.key(json!({"name": "elsewhere", "permissions": all, "organization": "elsewhere"})).await;

    for (method, path, permission) in ROUTES {
        let method: Method = method.parse().unwrap();
        let what = format!("{method} {path}");
        let send = async |client: super::Client<'_>| client.send(method.clone(), path, Some(json!({}))).await;
        assert_eq!(send(server.anonymous()).await.error(), (401, "unauthorized"), "{what}, by nobody");
        assert_eq!(send(server.with(&other)).await.error(), (404, "not_found"), "{what}, by a stranger");
        assert_eq!(send(server.with(&elsewhere)).await.error(), (404, "not_found"), "{what}, by a key for elsewhere");

        let rest: Vec<_> = all.iter().filter(|name| name != permission).collect();
        let weak = alice.key(json!({"name": format!("weak {what}").replace(['/'], " "), "permissions": rest})).await;
        let expected = if permission.starts_with("view") { (404, "not_found") } else { (403, "forbidden") };
        assert_eq!(send(server.with(&weak)).await.error(), expected, "{what}, by a key without {permission}");
    }
    alice.get("/projects/acme/web").await.message();
    alice.get("/caches/main").await.message();
}
