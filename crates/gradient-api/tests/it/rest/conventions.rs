//! What holds for every route: envelopes, methods, sizes, request ids.

use reqwest::Method;
use serde_json::json;

use crate::server::Server;

gradient_test_support::both_databases!(
    every_error_has_an_envelope,
    other_methods_are_told_those_that_there_are,
    bodies_and_queries_are_told_what_is_wrong,
    requests_have_an_id,
    no_answer_is_taken_for_what_it_is_not,
    the_server_tells_of_itself,
    lists_come_in_pages,
);

async fn every_error_has_an_envelope(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    // Whoever is nobody does not learn whether there is something.
    assert_eq!(server.anonymous().get("/nothing").await.error(), (401, "unauthorized"));
    assert_eq!(server.with(&token).get("/nothing").await.error(), (404, "not_found"));
    assert_eq!(server.with(&token).get("/orgs/acme/nothing").await.error(), (404, "not_found"));

    let request = server.http.request(Method::PATCH, format!("{}/api/v1/orgs", server.url)).bearer_auth(&token);
    let response = request.send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, "GET, PUT"));
    assert_eq!(response.json::<serde_json::Value>().await.unwrap()["error"], json!(true));

    let large = json!({"name": "a", "display_name": "a", "description": "x".repeat(3 << 20)});
    assert_eq!(server.with(&token).put("/orgs", large).await.error(), (413, "payload_too_large"));
    let request = server.http.put(format!("{}/api/v1/orgs", server.url)).bearer_auth(&token).body("{\"name\":");
    let response = request.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 400);
    assert_eq!(response.json::<serde_json::Value>().await.unwrap()["code"], json!("bad_request"));
    for path in ["/auth/oidc/login", "/auth/oidc/callback"] {
        assert_eq!(server.anonymous().get(path).await.error(), (400, "oauth_disabled"));
    }
}

async fn other_methods_are_told_those_that_there_are(database: &str) {
    let server = Server::start(database).await;
    for (path, allowed) in [
        ("/api/v1/health", "GET"),
        ("/proto", "GET"),
        ("/cache/main/nix-cache-info", "GET, HEAD, PUT"),
        ("/cache/main/nar/x.nar.zst", "GET, HEAD, PUT"),
        ("/cache/main/serve/x", "GET, HEAD"),
    ] {
        let response = server.http.delete(format!("{}{path}", server.url)).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, allowed), "{path}");
        assert_eq!(response.json::<serde_json::Value>().await.unwrap()["error"], json!(true), "{path}");
    }
}

async fn bodies_and_queries_are_told_what_is_wrong(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    let answer = alice.put("/orgs", json!(["acme", "Acme"])).await;
    assert_eq!(answer.error(), (400, "bad_request"));
    assert!(answer.sentence().contains("expected an object"), "{answer:?}");
    // Not every database takes this character.
    let nul = json!({"name": "acme", "display_name": "Acme", "description": "\0"});
    assert_eq!(alice.put("/orgs", nul).await.error(), (400, "validation"));
    let login = server.anonymous().post("/auth/basic/login", json!({"loginname": "\0", "password": "x"})).await;
    assert_eq!(login.error(), (401, "invalid_credentials"));
    alice.organization("acme", false).await;
    let member = async |user: &str, role: &str| alice.post("/orgs/acme/users", json!({"user": user, "role": role})).await;
    assert_eq!(member("\0", "View").await.error(), (404, "not_found"));
    assert_eq!(member("alice", "\0").await.error(), (400, "validation"));
    let answer = alice.get("/orgs?page=x").await;
    assert!(answer.sentence().contains("`page=x`"), "{answer:?}");

    let request = server.http.get(format!("{}/api/v1/user", server.url)).header("authorization", format!("bearer {token}"));
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200, "the name of the scheme has no case");
}

async fn no_answer_is_taken_for_what_it_is_not(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    server.with(&token).cache("main", true).await;
    for (path, status) in [
        ("/api/v1/health", 200),
        ("/api/v1/nothing", 401),
        ("/cache/main/nix-cache-info", 200),
        ("/cache/main/00000000000000000000000000000000.narinfo", 404),
        ("/cache/main/log/x.drv", 404),
        ("/nothing", 404),
    ] {
        let response = server.http.get(format!("{}{path}", server.url)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
    }
}

async fn requests_have_an_id(database: &str) {
    let server = Server::start(database).await;
    let id = async |brought: Option<&str>| {
        let mut request = server.http.get(format!("{}/api/v1/config", server.url));
        if let Some(brought) = brought {
            request = request.header("x-request-id", brought);
        }
        request.send().await.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id(Some("my-id.1")).await, "my-id.1");
    assert_ne!(id(Some("not a tame id")).await, "not a tame id");
    let minted = id(None).await;
    assert_eq!((minted.len(), &minted[14..15]), (36, "7"), "a UUID of version 7: {minted}");
}

async fn the_server_tells_of_itself(database: &str) {
    let server = Server::start(database).await;
    assert_eq!(server.anonymous().get("/health").await.message(), json!("200 ALIVE"));
    let config = server.anonymous().get("/config").await.message();
    assert_eq!(config["registration_enabled"], json!(true));
    assert_eq!(config["oidc_enabled"], json!(false));
    let superuser = server.signed_in("alice").await;
    let other = server.signed_in("bob").await;
    assert_eq!(server.with(&superuser).get("/admin/workers").await.message(), json!([]));
    assert_eq!(server.with(&other).get("/admin/workers").await.error(), (403, "superuser_required"));
    assert_eq!(server.anonymous().get("/admin/workers").await.error(), (401, "unauthorized"));
}

async fn lists_come_in_pages(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    for name in ["a", "b", "c"] {
        alice.organization(name, false).await;
    }
    let page = alice.get("/orgs?page=2&per_page=2").await.message();
    let names: Vec<_> = page["items"].as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
    assert_eq!(names, [json!("c")]);
    assert_eq!((&page["total"], &page["page"], &page["per_page"]), (&json!(3), &json!(2), &json!(2)));
    for query in ["page=0", "per_page=0", "per_page=101", "page=x"] {
        assert_eq!(alice.get(&format!("/orgs?{query}")).await.error(), (400, "bad_request"), "{query}");
    }
}
