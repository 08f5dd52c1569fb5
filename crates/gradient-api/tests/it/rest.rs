//! The REST API, one file for each resource.

mod accounts;
mod attempts;
mod authority;
mod builds;
mod cache_keys;
mod caches;
mod contract;
mod conventions;
mod delegation;
mod direct_builds;
mod docs;
mod downloads;
mod durations;
mod email_verification;
mod hostile;
mod keys;
mod known;
mod log_streams;
mod members;
mod oidc;
mod organizations;
mod pieces;
mod projects;
mod rate_limits;
mod readers;
mod repositories;
mod repository;
mod restarts;
mod retention;
mod roles;
mod setup_token;
mod signing;
mod subscriptions;
mod substitution;
mod unchanged;
mod upstreams;
mod worker;
mod workers;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::server::Server;

/// A password that may be chosen.
const PASSWORD: &str = "Correct-Horse-7";

/// An answer: its status and its envelope, which every answer below `/api/v1` has.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    status: StatusCode,
    body: Value,
}

impl Answer {
    /// The payload of a success.
    #[track_caller]
    fn message(self) -> Value {
        assert_eq!((self.status, &self.body["error"]), (StatusCode::OK, &json!(false)), "{}", self.body);
        self.body["message"].clone()
    }

    /// Status and code of an error.
    #[track_caller]
    fn error(&self) -> (u16, &str) {
        assert_eq!(self.body["error"], json!(true), "{}", self.body);
        assert!(self.body["message"].is_string(), "{}", self.body);
        (self.status.as_u16(), self.body["code"].as_str().unwrap())
    }

    /// An error's sentence.
    fn sentence(&self) -> &str {
        self.body["message"].as_str().unwrap()
    }
}

/// Somebody who sends requests.
#[derive(Clone, Copy)]
struct Client<'s> {
    server: &'s Server,
    token: Option<&'s str>,
}

impl Server {
    fn anonymous(&self) -> Client<'_> {
        Client { server: self, token: None }
    }

    fn with<'s>(&'s self, token: &'s str) -> Client<'s> {
        Client { server: self, token: Some(token) }
    }

    /// Registers a user and signs in; the answer is the JWT.
    async fn signed_in(&self, username: &str) -> String {
        let body =
            json!({"username": username, "name": username, "email": format!("{username}@example.com"), "password": PASSWORD});
        self.anonymous().post("/auth/basic/register", body).await.message();
        self.login(username, PASSWORD).await
    }

    async fn login(&self, login: &str, password: &str) -> String {
        let answer = self.anonymous().post("/auth/basic/login", json!({"loginname": login, "password": password})).await;
        answer.message().as_str().unwrap().to_owned()
    }
}

impl Client<'_> {
    async fn send(self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.server.http.request(method.clone(), format!("{}/api/v1{path}", self.server.url));
        if let Some(token) = self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, challenge) = (response.status(), response.headers().contains_key("www-authenticate"));
        let body: Value = response.json().await.unwrap();
        assert_eq!(status == StatusCode::UNAUTHORIZED, challenge, "a 401, and only that, says how to sign in");
        assert!(body["error"].is_boolean() && !body["message"].is_null(), "no envelope: {body}");
        contract::check(&method, path, status, &body);
        Answer { status, body }
    }

    async fn get(self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    async fn put(self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    async fn post(self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn patch(self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    async fn delete(self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    async fn delete_with(self, path: &str, body: Value) -> Answer {
        self.send(Method::DELETE, path, Some(body)).await
    }

    async fn organization(self, name: &str, public: bool) -> Value {
        self.put("/orgs", json!({"name": name, "display_name": name, "public": public})).await.message()
    }

    async fn cache(self, name: &str, public: bool) -> Value {
        self.put("/caches", json!({"name": name, "display_name": name, "public": public})).await.message()
    }

    async fn project(self, organization: &str, name: &str) -> Value {
        let body = json!({
            "name": name, "display_name": name, "repository": "https://example.com/a.git", "wildcard": "packages.*"
        });
        self.put(&format!("/projects/{organization}"), body).await.message()
    }

    async fn key(self, body: Value) -> String {
        self.post("/user/keys", body).await.message().as_str().unwrap().to_owned()
    }
}
