//! The first user of a server that is not on one's own machine.

use serde_json::{Value, json};

use super::PASSWORD;
use crate::server::Server;

gradient_test_support::both_databases!(
    the_setup_token_makes_the_first_user_superuser,
    a_wrong_setup_token_registers_nobody,
    the_setup_token_is_for_the_first_user,
);

/// Registers over a proxy, so not from this machine.
async fn register(server: &Server, username: &str, token: Option<&str>) -> (u16, Value) {
    let body = json!({"username": username, "name": username, "email": format!("{username}@example.com"), "password": PASSWORD});
    let request = server.http.post(format!("{}/api/v1/auth/basic/register", server.url)).json(&body);
    let request = request.header("x-forwarded-for", "192.0.2.1");
    let request = token.into_iter().fold(request, |request, token| request.header("x-gradient-setup", token));
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn is_superuser(server: &Server, username: &str) -> Value {
    let token = server.login(username, PASSWORD).await;
    server.with(&token).get("/user").await.message()["superuser"].clone()
}

fn token(server: &Server) -> String {
    server.engine.setup_token().unwrap().expose().clone()
}

async fn the_setup_token_makes_the_first_user_superuser(database: &str) {
    let server = Server::start(database).await;
    assert!(token(&server).len() >= 43, "at least 256 bits");
    assert_eq!(register(&server, "alice", Some(&token(&server))).await.0, 200);
    assert_eq!(is_superuser(&server, "alice").await, json!(true));
    let restarted = Server::start(database).await;
    assert!(restarted.engine.setup_token().is_none(), "there is a user");
}

async fn a_wrong_setup_token_registers_nobody(database: &str) {
    let server = Server::start(database).await;
    let right = token(&server);
    for wrong in ["", "x", &right[1..], &right.to_uppercase()] {
        let (status, body) = register(&server, "alice", Some(wrong)).await;
        assert_eq!((status, &body["code"]), (403, &json!("forbidden")), "{body}");
    }
    assert_eq!(register(&server, "alice", Some(&right)).await.0, 200);
}

async fn the_setup_token_is_for_the_first_user(database: &str) {
    let server = Server::start(database).await;
    assert_eq!(register(&server, "alice", None).await.0, 200);
    assert_eq!(is_superuser(&server, "alice").await, json!(false), "from elsewhere, without the token");
    assert_eq!(register(&server, "bob", Some(&token(&server))).await.0, 200);
    assert_eq!(is_superuser(&server, "bob").await, json!(false));
}
