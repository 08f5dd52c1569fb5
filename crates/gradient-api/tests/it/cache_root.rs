//! The binary cache as Nix's clients see it.

pub(crate) mod logs;
mod presigned;
mod private;
pub(crate) mod published;
mod pulling;
mod reading;
mod serving;
mod signing;
mod substitution;
mod uploading;
mod upstreams;

use gradient_domain::{CacheId, Moment, UserId};
use gradient_engine::NewCache;
use gradient_storage::users::{self, User};

use crate::server::Server;

async fn user(server: &Server, name: &str) -> UserId {
    let user = User {
        id: UserId::new(),
        username: name.parse().unwrap(),
        name: name.parse().unwrap(),
        email: format!("{name}@example.com").parse().unwrap(),
        password_hash: None,
        email_verified: true,
        superuser: false,
        created_at: Moment::now(),
    };
    let id = user.id;
    server.storage.write(async move |conn| users::insert(conn, &user).await).await.unwrap();
    id
}

async fn cache(server: &Server, owner: UserId, name: &str, public: bool) -> CacheId {
    let wanted = NewCache {
        name: name.parse().unwrap(),
        display_name: name.parse().unwrap(),
        description: String::new(),
        priority: 30,
        public,
    };
    server.engine.create_cache(owner, wanted).await.unwrap()
}
