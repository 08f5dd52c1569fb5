//! Registration, login, logout, and one's own account.

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::PASSWORD;
use crate::server::Server;

gradient_test_support::both_databases!(
    a_user_registers_and_signs_in,
    bad_registrations_name_the_field,
    a_login_tells_nothing,
    logout_revokes_at_once,
    the_cookie_is_for_own_pages,
    only_own_pages_sign_in,
    settings_and_password_change,
    an_account_goes_when_nothing_depends_on_it,
);

fn registration(username: &str, email: &str, password: &str) -> Value {
    json!({"username": username, "name": "Alice", "email": email, "password": password})
}

async fn a_user_registers_and_signs_in(database: &str) {
    let server = Server::start(database).await;
    let client = server.anonymous();
    let check = async |name: &str| client.post("/auth/check-username", json!({"username": name})).await;
    assert_eq!(check("alice").await.body["error"], json!(false));
    let said = client.post("/auth/basic/register", registration("alice", "alice@example.com", PASSWORD)).await.message();
    let in_use = check("ALICE").await;
    assert_eq!((in_use.status.as_u16(), &in_use.body["error"]), (200, &json!(true)));
    assert_eq!(check("a b").await.body["code"], json!("invalid_username"));

    let alice = server.login("alice", PASSWORD).await;
    let user = server.with(&alice).get("/user").await.message();
    assert!(said.as_str().unwrap().contains(user["id"].as_str().unwrap()), "{said}");
    assert_eq!(user["superuser"], json!(true), "the first one, from this machine");
    let by_email = server.login("Alice@Example.com", PASSWORD).await;
    assert_eq!(server.with(&by_email).get("/user").await.message(), user);
    let second = server.signed_in("bob").await;
    assert_eq!(server.with(&second).get("/user").await.message()["superuser"], json!(false));
}

async fn bad_registrations_name_the_field(database: &str) {
    let server = Server::start(database).await;
    let client = server.anonymous();
    server.signed_in("alice").await;
    for (body, expected) in [
        (registration("ab", "b@example.com", PASSWORD), (400, "invalid_username")),
        (registration("admin", "b@example.com", PASSWORD), (400, "invalid_username")),
        (registration("bob", "nowhere", PASSWORD), (400, "invalid_email")),
        (registration("bob", "b@example.com", "short"), (400, "invalid_password")),
        (registration("bob", "b@example.com", "My-Password-1"), (400, "invalid_password")),
        (registration("Alice", "b@example.com", PASSWORD), (409, "already_exists")),
        (registration("bob", "ALICE@example.com", PASSWORD), (409, "already_exists")),
        (json!({"username": "bob", "name": "\u{7}", "email": "b@example.com", "password": PASSWORD}), (400, "invalid_name")),
        (json!({"username": "bob"}), (400, "bad_request")),
    ] {
        assert_eq!(client.post("/auth/basic/register", body.clone()).await.error(), expected, "{body}");
    }
    let wrong_type = client.post("/auth/basic/register", json!({"username": 5})).await;
    assert!(wrong_type.sentence().contains("username: invalid type: integer `5`, expected a string"), "{wrong_type:?}");
}

async fn a_login_tells_nothing(database: &str) {
    let server = Server::start(database).await;
    server.signed_in("alice").await;
    let login = async |name: &str| {
        let body = json!({"loginname": name, "password": "Wrong-Horse-7"});
        server.anonymous().post("/auth/basic/login", body).await
    };
    let (wrong, unknown) = (login("alice").await, login("nobody").await);
    assert_eq!(wrong.error(), (401, "invalid_credentials"));
    assert_eq!(wrong, unknown);
}

async fn logout_revokes_at_once(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let other = server.login("alice", PASSWORD).await;
    server.with(&token).post("/auth/logout", json!({})).await.message();
    assert_eq!(server.with(&token).get("/user").await.error(), (401, "unauthorized"));
    server.with(&other).get("/user").await.message();
    server.with(&token).post("/auth/logout", json!({})).await.message();
    for forged in ["", "x", "a.b.c", "GRADx"] {
        assert_eq!(server.with(forged).get("/user").await.error(), (401, "unauthorized"), "{forged:?}");
    }
}

async fn the_cookie_is_for_own_pages(database: &str) {
    let server = Server::start(database).await;
    server.signed_in("alice").await;
    let login = async |remember_me: bool| {
        let body = json!({"loginname": "alice", "password": PASSWORD, "remember_me": remember_me});
        let request = server.http.post(format!("{}/api/v1/auth/basic/login", server.url)).json(&body);
        let response = request.send().await.unwrap();
        response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned()
    };
    let cookie = login(false).await;
    for part in ["jwt_token=", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{part} is missing in {cookie}");
    }
    assert!(!cookie.contains("Max-Age") && !cookie.contains("Secure"), "{cookie}");
    assert!(login(true).await.contains("Max-Age=2592000"));

    let cookie = cookie.split(';').next().unwrap();
    let status = async |method: Method, path: &str, origin: Option<(&str, &str)>| {
        let mut request = server.http.request(method, format!("{}/api/v1{path}", server.url)).header(header::COOKIE, cookie);
        if let Some((name, value)) = origin {
            request = request.header(name, value);
        }
        request.json(&json!({"name": "acme", "display_name": "Acme"})).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(Method::GET, "/user", None).await, 200);
    assert_eq!(status(Method::PUT, "/orgs", None).await, 403);
    assert_eq!(status(Method::PUT, "/orgs", Some(("origin", "https://evil.example"))).await, 403);
    assert_eq!(status(Method::PUT, "/orgs", Some(("sec-fetch-site", "cross-site"))).await, 403);
    assert_eq!(status(Method::PUT, "/orgs", Some(("origin", &server.url))).await, 200);
    assert_eq!(status(Method::DELETE, "/orgs/acme", Some(("sec-fetch-site", "same-origin"))).await, 200);
}

async fn only_own_pages_sign_in(database: &str) {
    let server = Server::start(database).await;
    server.signed_in("alice").await;
    let origin = server.url.clone();
    for (headers, expected) in [
        (vec![], 200),
        (vec![("sec-fetch-site", "same-origin")], 200),
        (vec![("sec-fetch-site", "none")], 200),
        (vec![("origin", origin.as_str())], 200),
        (vec![("origin", "https://evil.example")], 403),
        (vec![("origin", "null")], 403),
        (vec![("sec-fetch-site", "cross-site")], 403),
        (vec![("sec-fetch-site", "same-site"), ("origin", "https://evil.example")], 403),
    ] {
        let body = json!({"loginname": "alice", "password": PASSWORD});
        let request = server.http.post(format!("{}/api/v1/auth/basic/login", server.url)).json(&body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{headers:?}");
        assert_eq!(response.headers().contains_key(header::SET_COOKIE), expected == 200, "{headers:?}");
    }
}

async fn settings_and_password_change(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    server.signed_in("bob").await;
    let other = server.login("alice", PASSWORD).await;
    let alice = server.with(&token);
    let changed = alice.patch("/user/settings", json!({"name": "Alice B", "email": "a@example.org"})).await.message();
    assert_eq!(
        changed,
        json!({"username": "alice", "name": "Alice B", "email": "a@example.org", "pending_email": null, "is_oidc": false})
    );
    assert_eq!(alice.get("/user/settings").await.message(), changed);
    assert_eq!(alice.patch("/user/settings", json!({"username": "Bob"})).await.error(), (409, "already_exists"));

    let change = |old: &str, new: &str| json!({"old_password": old, "new_password": new});
    assert_eq!(alice.patch("/user/password", change("wrong", "Better-Horse-8")).await.error(), (403, "forbidden"));
    assert_eq!(alice.patch("/user/password", change(PASSWORD, "weak")).await.error(), (400, "invalid_password"));
    alice.patch("/user/password", change(PASSWORD, "Better-Horse-8")).await.message();
    alice.get("/user").await.message();
    assert_eq!(server.with(&other).get("/user").await.error(), (401, "unauthorized"));
    server.login("alice", "Better-Horse-8").await;
}

async fn an_account_goes_when_nothing_depends_on_it(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    let password = json!({"password": PASSWORD});
    assert_eq!(alice.delete_with("/user", json!({"password": "wrong"})).await.error(), (403, "forbidden"));
    let refused = alice.delete_with("/user", password.clone()).await;
    assert_eq!(refused.error(), (409, "conflict"));
    assert!(refused.sentence().contains("acme"), "{refused:?}");
    alice.delete("/orgs/acme").await.message();
    alice.delete_with("/user", password).await.message();
    assert_eq!(alice.get("/user").await.error(), (401, "unauthorized"));
    server.signed_in("alice").await;
}
