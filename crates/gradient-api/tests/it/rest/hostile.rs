//! What nobody sends by accident: each is answered with a status that says that it is wrong, and changes nothing.

mod bodies;
mod crowds;
mod heads;
mod operations;
mod paths;
mod raw;
mod slow;
mod tokens;

use serde_json::{Value, json};

use super::Client;
use crate::server::Server;

/// A user with one of everything that can be made without a worker.
async fn with_everything(server: &Server, token: &str) {
    let user = server.with(token);
    user.organization("acme", false).await;
    user.project("acme", "web").await;
    user.cache("main", false).await;
    user.post("/orgs/acme/subscribe/main", json!({})).await.message();
    user.post("/orgs/acme/roles", json!({"name": "readers", "permissions": ["viewOrg"]})).await.message();
}

/// Everything that a user has, as the user sees it.
async fn belongings(client: Client<'_>) -> Value {
    const PATHS: [&str; 14] = [
        "/user",
        "/user/settings",
        "/user/keys",
        "/orgs",
        "/orgs/acme",
        "/orgs/acme/users",
        "/orgs/acme/roles",
        "/orgs/acme/ssh",
        "/orgs/acme/subscribe",
        "/orgs/acme/workers",
        "/projects/acme",
        "/projects/acme/web",
        "/caches/main",
        "/caches/main/members",
    ];
    let mut all = serde_json::Map::new();
    for path in PATHS {
        all.insert(path.to_owned(), client.get(path).await.message());
    }
    Value::Object(all)
}
