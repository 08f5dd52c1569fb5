//! Who asks too often, and who is told apart from whom.

use gradient_api::{ApiSettings, RateLimit, RateLimits};
use reqwest::{Method, header};
use serde_json::json;

use super::PASSWORD;
use crate::server::Server;

gradient_test_support::both_databases!(
    too_many_logins_are_refused,
    users_have_buckets_of_their_own,
    own_passwords_are_not_guessed_either,
    the_cache_root_answers_in_plain_text,
    only_a_trusted_proxy_names_the_client,
    workers_are_never_limited,
);

/// A bucket of this size that does not fill again while a test runs.
fn burst(requests: u32) -> RateLimit {
    format!("1/86400:{requests}").parse().unwrap()
}

async fn start(database: &str, rate_limits: RateLimits) -> Server {
    Server::with_settings(database, ApiSettings { rate_limits, ..ApiSettings::default() }).await
}

/// The status of a GET with these headers.
async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> u16 {
    let request = server.http.get(format!("{}{path}", server.url));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap().status().as_u16()
}

async fn too_many_logins_are_refused(database: &str) {
    let server = start(database, RateLimits { auth: Some(burst(5)), ..RateLimits::OFF }).await;
    let token = server.signed_in("alice").await;
    let body = json!({"loginname": "alice", "password": "Wrong-Horse-7"});
    for _ in 0..3 {
        assert_eq!(server.anonymous().post("/auth/basic/login", body.clone()).await.error(), (401, "invalid_credentials"));
    }
    // An account buys no further guesses, nor does another way to write the path.
    for (path, token) in [("login", None), ("login", Some(&token)), ("%6cogin", None), ("nothing", None)] {
        let request = server.http.post(format!("{}/api/v1/auth/basic/{path}", server.url)).json(&body);
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 429, "{path}");
        let wait: u64 = response.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((80_000..=86_400).contains(&wait), "{wait}");
        assert!(response.headers().contains_key("x-request-id"));
        let answer: serde_json::Value = response.json().await.unwrap();
        assert_eq!((&answer["error"], &answer["code"]), (&json!(true), &json!("rate_limited")));
    }
    let right = json!({"loginname": "alice", "password": PASSWORD});
    assert_eq!(server.anonymous().post("/auth/basic/login", right).await.error(), (429, "rate_limited"));
    server.with(&token).get("/user").await.message();
    server.with(&token).post("/auth/logout", json!({})).await.message();
}

async fn users_have_buckets_of_their_own(database: &str) {
    let server = start(database, RateLimits { default: Some(burst(4)), ..RateLimits::OFF }).await;
    let (alice, bob) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let other_session = server.login("alice", PASSWORD).await;
    let key = server.with(&alice).key(json!({"name": "ci", "permissions": ["viewOrg"]})).await;
    server.with(&alice).get("/user").await.message();
    server.with(&other_session).get("/user").await.message();
    let cookie = format!("jwt_token={alice}");
    assert_eq!(get(&server, "/api/v1/user", &[("cookie", &cookie)]).await, 200);
    assert_eq!(server.with(&other_session).get("/user").await.error(), (429, "rate_limited"), "one bucket for all sessions");
    assert_eq!(get(&server, "/api/v1/user", &[("cookie", &cookie)]).await, 429);
    assert_eq!(server.with(&key).get("/orgs").await.error(), (429, "rate_limited"), "and for all keys");
    server.with(&bob).get("/user").await.message();

    // Bad tokens prove nobody, so they share the bucket of the address.
    for number in 0..4 {
        assert_eq!(server.with(&format!("a.b.{number}")).get("/user").await.error(), (401, "unauthorized"));
    }
    assert_eq!(server.with("a.b.c").get("/user").await.error(), (429, "rate_limited"));
    assert_eq!(server.anonymous().get("/health").await.error(), (429, "rate_limited"));
    server.with(&bob).get("/user").await.message();
    let revoked = server.with(&bob).post("/auth/logout", json!({})).await;
    assert_eq!(revoked.message(), json!("you are signed out"));
    assert_eq!(server.with(&bob).get("/user").await.error(), (429, "rate_limited"), "no session, no bucket");
}

async fn own_passwords_are_not_guessed_either(database: &str) {
    let server = start(database, RateLimits { auth: Some(burst(4)), ..RateLimits::OFF }).await;
    let (alice, bob) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let change = |old: &str| json!({"old_password": old, "new_password": "Better-Horse-8"});
    for number in 0..2 {
        let wrong = format!("Wrong-Horse-{number}");
        assert_eq!(server.with(&alice).patch("/user/password", change(&wrong)).await.error(), (403, "forbidden"));
        assert_eq!(server.with(&alice).delete_with("/user", json!({"password": wrong})).await.error(), (403, "forbidden"));
    }
    let request = server.http.patch(format!("{}/api/v1/user/password", server.url)).json(&change(PASSWORD));
    let response = request.bearer_auth(&alice).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().contains_key(header::RETRY_AFTER)), (429, true));
    let right = json!({"password": PASSWORD});
    assert_eq!(server.with(&alice).delete_with("/user", right.clone()).await.error(), (429, "rate_limited"));
    server.with(&alice).get("/user").await.message();
    server.with(&bob).delete_with("/user", right).await.message();
}

async fn the_cache_root_answers_in_plain_text(database: &str) {
    let limits = RateLimits { cache: Some(burst(1)), inspect: Some(burst(1)), log: Some(burst(1)), ..RateLimits::OFF };
    let server = start(database, limits).await;
    for (first, then) in [("ls/x", "x.ls"), ("nix-cache-info", "x.narinfo"), ("log/x.drv", "log/x.drv")] {
        let (first, path) = (format!("/cache/main/{first}"), format!("/cache/main/{then}"));
        assert_eq!(get(&server, &first, &[]).await, 404, "{first}");
        let response = server.http.get(format!("{}{path}", server.url)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 429, "{path}");
        assert!(response.headers().contains_key(header::RETRY_AFTER));
        assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/plain"));
        assert!(response.text().await.unwrap().starts_with("too many requests"));
    }
    // A key as Nix sends it, as the password, takes from its user's bucket.
    let token = server.signed_in("alice").await;
    let key = server.with(&token).key(json!({"name": "nix", "permissions": ["viewOrg"]})).await;
    let with_key = async || {
        let request = server.http.get(format!("{}/cache/main/nix-cache-info", server.url)).basic_auth("nix", Some(&key));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((with_key().await, with_key().await), (404, 429));

    let unlimited = start(database, RateLimits::default()).await;
    for _ in 0..200 {
        assert_eq!(get(&unlimited, "/cache/main/nix-cache-info", &[]).await, 404, "Nix is not limited by default");
    }
}

async fn only_a_trusted_proxy_names_the_client(database: &str) {
    let rate_limits = RateLimits { default: Some(burst(1)), ..RateLimits::OFF };
    let health = "/api/v1/health";
    let server = start(database, rate_limits).await;
    assert_eq!(get(&server, health, &[("x-forwarded-for", "192.0.2.1")]).await, 200);
    assert_eq!(get(&server, health, &[("x-forwarded-for", "192.0.2.2")]).await, 429, "whatever it says, it is one client");

    let trusted_proxies = "127.0.0.0/8".parse().unwrap();
    let settings = ApiSettings { rate_limits, trusted_proxies, ..ApiSettings::default() };
    let behind_proxy = Server::with_settings(database, settings).await;
    assert_eq!(get(&behind_proxy, health, &[("x-forwarded-for", "192.0.2.1")]).await, 200);
    assert_eq!(get(&behind_proxy, health, &[("x-forwarded-for", "192.0.2.2")]).await, 200);
    assert_eq!(get(&behind_proxy, health, &[("x-forwarded-for", "198.51.100.7, 192.0.2.2")]).await, 429);
}

async fn workers_are_never_limited(database: &str) {
    let limits = RateLimits {
        auth: Some(burst(1)),
        cache: Some(burst(1)),
        inspect: Some(burst(1)),
        log: Some(burst(1)),
        default: Some(burst(1)),
    };
    let server = start(database, limits).await;
    for _ in 0..5 {
        assert_ne!(get(&server, "/proto", &[]).await, 429);
        let url = format!("{}/proto/jobs/build/{}/1/missing", server.url, uuid::Uuid::nil());
        assert_ne!(server.http.request(Method::POST, url).send().await.unwrap().status().as_u16(), 429);
    }
}
