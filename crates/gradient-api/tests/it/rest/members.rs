//! Members of organizations and caches.

use serde_json::json;

use crate::server::Server;

gradient_test_support::both_databases!(
    members_come_change_and_go,
    the_last_admin_stays,
    of_two_admins_who_leave_at_once_one_stays,
    caches_have_members_too,
    members_of_a_public_cache_are_not_public,
);

async fn members_come_change_and_go(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    alice.organization("acme", false).await;
    alice.post("/orgs/acme/users", json!({"user": "bob", "role": "View"})).await.message();
    let members = alice.get("/orgs/acme/users").await.message();
    assert_eq!(members, json!([{"id": "alice", "name": "Admin"}, {"id": "bob", "name": "View"}]));
    assert_eq!(bob.get("/orgs/acme").await.message()["role"], json!("View"));
    let create = json!({"name": "w", "display_name": "w", "repository": "https://example.com/a", "wildcard": "checks.*"});
    assert_eq!(bob.put("/projects/acme", create.clone()).await.error(), (403, "forbidden"));
    alice.patch("/orgs/acme/users", json!({"user": "bob", "role": "Write"})).await.message();
    bob.put("/projects/acme", create).await.message();
    assert_eq!(bob.post("/orgs/acme/users", json!({"user": "bob", "role": "Admin"})).await.error(), (403, "forbidden"));

    assert_eq!(alice.post("/orgs/acme/users", json!({"user": "bob", "role": "View"})).await.error(), (409, "already_exists"));
    assert_eq!(alice.post("/orgs/acme/users", json!({"user": "nobody-1", "role": "View"})).await.error(), (404, "not_found"));
    assert_eq!(alice.patch("/orgs/acme/users", json!({"user": "bob", "role": "King"})).await.error(), (400, "validation"));
    alice.delete_with("/orgs/acme/users", json!({"user": "bob"})).await.message();
    assert_eq!(bob.get("/orgs/acme").await.error(), (404, "not_found"));
    assert_eq!(alice.delete_with("/orgs/acme/users", json!({"user": "bob"})).await.error(), (404, "not_found"));
}

async fn the_last_admin_stays(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    server.signed_in("bob").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    assert_eq!(alice.delete_with("/orgs/acme/users", json!({"user": "alice"})).await.error(), (409, "conflict"));
    assert_eq!(alice.patch("/orgs/acme/users", json!({"user": "alice", "role": "View"})).await.error(), (409, "conflict"));
    alice.patch("/orgs/acme/users", json!({"user": "alice", "role": "Admin"})).await.message();
    alice.post("/orgs/acme/users", json!({"user": "bob", "role": "Admin"})).await.message();
    alice.delete_with("/orgs/acme/users", json!({"user": "alice"})).await.message();
    assert_eq!(alice.get("/orgs/acme").await.error(), (404, "not_found"));
}

async fn of_two_admins_who_leave_at_once_one_stays(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    for round in 0..10 {
        let (organization, cache) = (format!("acme-{round}"), format!("cache-{round}"));
        alice.organization(&organization, false).await;
        alice.cache(&cache, false).await;
        for members in [format!("/orgs/{organization}/users"), format!("/caches/{cache}/members")] {
            alice.post(&members, json!({"user": "bob", "role": "Admin"})).await.message();
            let (first, second) = tokio::join!(
                alice.delete_with(&members, json!({"user": "alice"})),
                bob.patch(&members, json!({"user": "bob", "role": "View"})),
            );
            let refused = [first, second].iter().filter(|answer| answer.status == 409).count();
            assert_eq!(refused, 1, "{members}");
        }
    }
}

async fn caches_have_members_too(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    alice.cache("main", false).await;
    assert_eq!(bob.get("/caches/main").await.error(), (404, "not_found"));
    alice.post("/caches/main/members", json!({"user": "bob", "role": "View"})).await.message();
    assert_eq!(bob.get("/caches/main").await.message()["can_edit"], json!(false));
    assert_eq!(bob.delete("/caches/main").await.error(), (403, "forbidden"));
    assert_eq!(alice.delete_with("/caches/main/members", json!({"user": "alice"})).await.error(), (409, "conflict"));
    let members = bob.get("/caches/main/members").await.message();
    assert_eq!(members, json!([{"id": "alice", "name": "Admin"}, {"id": "bob", "name": "View"}]));
}

async fn members_of_a_public_cache_are_not_public(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    alice.cache("main", true).await;
    alice.cache("closed", false).await;
    bob.organization("bobs", false).await;
    alice.post("/caches/closed/members", json!({"user": "bob", "role": "Admin"})).await.message();
    bob.post("/orgs/bobs/subscribe/closed", json!({})).await.message();
    bob.delete_with("/caches/closed/members", json!({"user": "bob"})).await.message();
    bob.get("/caches/closed").await.message();
    for path in ["members", "roles"] {
        assert_eq!(server.anonymous().get(&format!("/caches/main/{path}")).await.error(), (401, "unauthorized"));
        assert_eq!(bob.get(&format!("/caches/main/{path}")).await.error(), (403, "forbidden"));
        assert_eq!(bob.get(&format!("/caches/closed/{path}")).await.error(), (403, "forbidden"), "a subscriber is no member");
        alice.get(&format!("/caches/main/{path}")).await.message();
    }
}
