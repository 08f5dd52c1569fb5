//! `/orgs/{org}/subscribe`: the caches of an organization.

use actix_web::web;
use gradient_auth::Decision;
use gradient_domain::{CacheId, CacheName, CachePermission, SubscriptionMode};
use gradient_engine::{Engine, FoundCache, SubscribedCache};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ApiError,
    body::OptionalBody,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Sentence},
    scope::{ManageSubscriptions, Member, OrganizationScope},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Organizations:
        list;
        subscribe => AlreadyExists;
        unsubscribe;
    }
}

/// A cache that an organization is subscribed to.
#[derive(Serialize, ToSchema)]
#[schema(as = Subscription, title = "Subscription")]
struct SubscriptionBody {
    id: CacheId,
    name: CacheName,
    mode: SubscriptionMode,
}

/// Lists the caches that the organization is subscribed to.
#[utoipa::path(get, path = "/orgs/{org}/subscribe")]
async fn list(scope: OrganizationScope<Member>, engine: web::Data<Engine>) -> Result<Answer<Vec<SubscriptionBody>>, ApiError> {
    let body = |cache: SubscribedCache| SubscriptionBody { id: cache.cache, name: cache.name, mode: cache.mode };
    Ok(Answer(engine.subscriptions(scope.found.organization.id).await?.into_iter().map(body).collect()))
}

/// What the subscription is for.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = NewSubscription)]
struct SubscribeBody {
    mode: Option<SubscriptionMode>,
}

/// Subscribes the organization to a cache.
///
/// This also takes `manageCacheSubscriptions` on the cache. Evaluations that wait for a cache go on.
#[utoipa::path(post, path = "/orgs/{org}/subscribe/{cache}")]
async fn subscribe(
    scope: OrganizationScope<ManageSubscriptions>,
    path: web::Path<(String, String)>,
    body: OptionalBody<SubscribeBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let found = cache(&scope, &path.1, &engine).await?;
    ApiError::decided(
        found.access.decide(&scope.caller, CachePermission::ManageCacheSubscriptions),
        "cache",
        CachePermission::ManageCacheSubscriptions.as_str(),
    )?;
    let mode = body.read()?.and_then(|body| body.mode).unwrap_or(SubscriptionMode::ReadWrite);
    engine.subscribe(scope.found.organization.id, found.cache.id, mode).await?;
    Ok(Answer(Sentence(format!("the organization is subscribed to `{}`", found.cache.name))))
}

/// Ends the organization's subscription to a cache.
#[utoipa::path(delete, path = "/orgs/{org}/subscribe/{cache}")]
async fn unsubscribe(
    scope: OrganizationScope<ManageSubscriptions>,
    path: web::Path<(String, String)>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let subscribed = engine.subscriptions(scope.found.organization.id).await?;
    let found = subscribed.into_iter().find(|cache| cache.name.as_str() == path.1);
    let found = found.ok_or_else(|| ApiError::not_found("the organization is not subscribed to such a cache"))?;
    engine.unsubscribe(scope.found.organization.id, found.cache).await?;
    Ok(Answer(Sentence(format!("the organization is not subscribed to `{}` any more", found.name))))
}

/// The cache of this name, as far as the caller may know of it.
async fn cache(scope: &OrganizationScope<ManageSubscriptions>, name: &str, engine: &Engine) -> Result<FoundCache, ApiError> {
    let found = match name.parse() {
        Ok(name) => engine.find_cache(&scope.caller, name).await?,
        Err(_) => None,
    };
    let sees = |found: &FoundCache| found.access.decide(&scope.caller, CachePermission::ViewCache) != Decision::Hidden;
    found.filter(sees).ok_or_else(|| ApiError::not_found("there is no such cache"))
}
