//! What holds for every route: envelopes, methods, sizes, request ids.

use reqwest::Method;
use serde_json::json;

use crate::server::Server;

gradient_test_support::both_databases!(
    every_error_has_an_envelope,
    requests_have_an_id,
    the_server_tells_of_itself,
    lists_come_in_pages,
);

async fn every_error_has_an_envelope(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    assert_eq!(server.anonymous().get("/nothing").await.error(), (404, "not_found"));
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
    assert_eq!(id(None).await.len(), 36);
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
