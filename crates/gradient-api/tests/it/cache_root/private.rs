//! Who may read a private cache.

use gradient_domain::{BuiltInRole, CacheId, Moment, OrganizationId, RoleScope, SubscriptionMode, UserId};
use gradient_engine::{NewApiKey, NewOrganization, NewPin};
use gradient_storage::{
    organizations, roles,
    subscriptions::{self, Subscription},
};
use reqwest::StatusCode;

use super::{
    cache,
    published::{HELLO, publish_hello},
    user,
};
use crate::server::Server;

gradient_test_support::both_databases!(a_private_cache_is_for_those_who_may_read_it, subscribers_read);

pub(super) async fn key(server: &Server, user: UserId, permissions: &[&str], pin: NewPin) -> String {
    let wanted = NewApiKey {
        name: format!("key-{}", permissions.join("-")).parse().unwrap(),
        permissions: permissions.iter().map(|name| (*name).to_owned()).collect(),
        pin,
        expires_in_days: None,
    };
    server.engine.create_api_key(user, wanted).await.unwrap().into_inner()
}

async fn status(server: &Server, cache: &str, password: Option<&str>) -> StatusCode {
    let (hash, _) = HELLO.split_once('-').unwrap();
    let request = server.http.get(format!("{}/cache/{cache}/{hash}.narinfo", server.url));
    let request = match password {
        Some(password) => request.basic_auth("anybody", Some(password)),
        None => request,
    };
    let response = request.send().await.unwrap();
    let challenge = response.headers().get("www-authenticate").cloned();
    let is_challenged = challenge.is_some_and(|value| value == "Basic realm=\"gradient\"");
    assert_eq!(response.status() == StatusCode::UNAUTHORIZED, is_challenged);
    response.status()
}

async fn a_private_cache_is_for_those_who_may_read_it(database: &str) {
    let server = Server::start(database).await;
    let (owner, stranger) = (user(&server, "alice").await, user(&server, "bob").await);
    let secret = cache(&server, owner, "secret", false).await;
    let other = cache(&server, owner, "other", false).await;
    publish_hello(&server, secret).await;

    assert_eq!(status(&server, "secret", None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&server, "secret", Some("wrong")).await, StatusCode::UNAUTHORIZED);
    let good = key(&server, owner, &["viewCache", "readStore"], NewPin::Everywhere).await;
    assert_eq!(status(&server, "secret", Some(&good)).await, StatusCode::OK);
    let pinned = key(&server, owner, &["readStore"], NewPin::Cache(secret)).await;
    assert_eq!(status(&server, "secret", Some(&pinned)).await, StatusCode::OK);
    // By now, memory could answer.
    let (hash, _) = HELLO.split_once('-').unwrap();
    let request = server.http.get(format!("{}/cache/secret/{hash}.narinfo", server.url));
    let twice = request.header("authorization", format!("Bearer {good}")).header("authorization", "Bearer wrong");
    assert_eq!(twice.send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "two credentials");

    let elsewhere = key(&server, owner, &["readStore", "writeStore"], NewPin::Cache(other)).await;
    assert_eq!(status(&server, "secret", Some(&elsewhere)).await, StatusCode::NOT_FOUND);
    let weak = key(&server, owner, &["viewCache"], NewPin::Everywhere).await;
    assert_eq!(status(&server, "secret", Some(&weak)).await, StatusCode::NOT_FOUND);
    let bobs = key(&server, stranger, &["viewCache", "readStore"], NewPin::Everywhere).await;
    assert_eq!(status(&server, "secret", Some(&bobs)).await, StatusCode::NOT_FOUND);
    assert_eq!(status(&server, "unknown", Some(&bobs)).await, StatusCode::NOT_FOUND);
}

async fn subscribers_read(database: &str) {
    let server = Server::start(database).await;
    let (owner, member) = (user(&server, "alice").await, user(&server, "bob").await);
    let secret = cache(&server, owner, "secret", false).await;
    publish_hello(&server, secret).await;
    let wanted = NewOrganization {
        name: "acme".parse().unwrap(),
        display_name: "Acme".parse().unwrap(),
        description: String::new(),
        public: false,
    };
    let acme = server.engine.create_organization(owner, wanted).await.unwrap();
    let viewer = roles::built_in(RoleScope::Organization, BuiltInRole::View);
    let join = async move |conn: &mut gradient_storage::Conn| {
        organizations::insert_member(conn, acme, member, viewer, Moment::now()).await
    };
    server.storage.write(join).await.unwrap();
    let bobs = key(&server, member, &["readStore"], NewPin::Everywhere).await;

    assert_eq!(status(&server, "secret", Some(&bobs)).await, StatusCode::NOT_FOUND);
    subscribe(&server, acme, secret, SubscriptionMode::WriteOnly).await;
    assert_eq!(status(&server, "secret", Some(&bobs)).await, StatusCode::NOT_FOUND);
    server.engine.unsubscribe(acme, secret).await.unwrap();
    subscribe(&server, acme, secret, SubscriptionMode::ReadOnly).await;
    assert_eq!(status(&server, "secret", Some(&bobs)).await, StatusCode::OK);
    server.engine.unsubscribe(acme, secret).await.unwrap();
    server.engine.forget_readers();
    assert_eq!(status(&server, "secret", Some(&bobs)).await, StatusCode::NOT_FOUND);
}

pub(super) async fn subscribe(server: &Server, organization: OrganizationId, cache: CacheId, mode: SubscriptionMode) {
    let row = Subscription { organization, cache, mode, created_at: Moment::now() };
    server.storage.write(async move |conn| subscriptions::insert(conn, &row).await).await.unwrap();
}
