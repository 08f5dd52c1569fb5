//! Organizations and their SSH keys.

use serde_json::json;

use crate::server::Server;

gradient_test_support::both_databases!(
    an_organization_is_made_changed_and_deleted,
    names_are_unique_and_slugs,
    a_private_organization_does_not_exist_for_strangers,
    the_ssh_key_is_renewed,
);

async fn an_organization_is_made_changed_and_deleted(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    let id = alice.put("/orgs", json!({"name": "acme", "display_name": "Acme", "description": "d"})).await.message();
    let mut shown = alice.get("/orgs/acme").await.message();
    assert!(shown["created_at"].take().as_str().unwrap().ends_with('Z'));
    let expected = json!({
        "id": id, "name": "acme", "display_name": "Acme", "description": "d", "public": false, "role": "Admin",
        "created_by": "alice", "created_at": null,
    });
    assert_eq!(shown, expected);
    alice.patch("/orgs/acme", json!({"name": "acme-2", "public": true, "share": 200})).await.message();
    assert_eq!(alice.get("/orgs/acme").await.error(), (404, "not_found"));
    assert_eq!(server.anonymous().get("/orgs/acme-2").await.message()["public"], json!(true));
    alice.delete("/orgs/acme-2").await.message();
    assert_eq!(alice.get("/orgs/acme-2").await.error(), (404, "not_found"));
    assert_ne!(alice.organization("acme-2", false).await, id, "the name is free again");
}

async fn names_are_unique_and_slugs(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    for (name, expected) in [
        ("acme", (409, "already_exists")),
        ("Acme", (400, "invalid_name")),
        ("-a", (400, "invalid_name")),
        ("available", (400, "invalid_name")),
    ] {
        assert_eq!(alice.put("/orgs", json!({"name": name, "display_name": "x"})).await.error(), expected, "{name}");
    }
    alice.organization("other", false).await;
    assert_eq!(alice.patch("/orgs/other", json!({"name": "acme"})).await.error(), (409, "already_exists"));
    assert_eq!(alice.patch("/orgs/other", json!({"share": 0})).await.error(), (400, "validation"));
    let second = server.signed_in("bob").await;
    server.with(&second).organization("bobs", false).await;
    assert_eq!(server.with(&second).patch("/orgs/bobs", json!({"share": 1})).await.error(), (403, "superuser_required"));
}

async fn a_private_organization_does_not_exist_for_strangers(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    server.with(&token).organization("acme", false).await;
    let stranger = server.with(&other);
    let (hidden, missing) = (stranger.get("/orgs/acme").await, stranger.get("/orgs/nothing").await);
    assert_eq!(hidden.error(), (404, "not_found"));
    assert_eq!(hidden, missing);
    let (hidden, missing) = (server.anonymous().get("/orgs/acme").await, server.anonymous().get("/orgs/nothing").await);
    assert_eq!(hidden.error(), (401, "unauthorized"));
    assert_eq!(hidden, missing);
    assert_eq!(stranger.get("/orgs").await.message()["total"], json!(0));
}

async fn the_ssh_key_is_renewed(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", true).await;
    let first = alice.get("/orgs/acme/ssh").await.message();
    assert!(first.as_str().unwrap().starts_with("ssh-ed25519 AAAA"), "{first}");
    let second = alice.post("/orgs/acme/ssh", json!({})).await.message();
    assert_ne!(first, second);
    assert_eq!(alice.get("/orgs/acme/ssh").await.message(), second);
    let other = server.signed_in("bob").await;
    assert_eq!(server.with(&other).get("/orgs/acme/ssh").await.error(), (403, "forbidden"), "public is not member");
}
