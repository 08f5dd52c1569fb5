use actix_web::web;
use gradient_engine::{Engine, FoundCache, Membership};

use super::{MemberBody, RoleBody, UserBody};
use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Sentence},
    scope::{CacheMember, CacheScope, ManageCacheMembers},
};

fn members(found: &FoundCache) -> Membership {
    Membership::Cache(found.cache.id)
}

/// Lists the members of a cache.
#[utoipa::path(get, path = "/caches/{cache}/members")]
pub(super) async fn list(scope: CacheScope<CacheMember>, engine: web::Data<Engine>) -> Result<Answer<Vec<MemberBody>>, ApiError> {
    super::list(members(&scope.found), &engine).await
}

/// Adds a member to a cache.
///
/// User and role are named; there is a 404 for an unknown user.
/// Nobody can give a role that may do more than they may themselves, by role and API key: that is a 403.
#[utoipa::path(post, path = "/caches/{cache}/members")]
pub(super) async fn add(
    scope: CacheScope<ManageCacheMembers>,
    body: Body<RoleBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::add(&scope.caller, members(&scope.found), body.read()?, &engine).await
}

/// Gives a member of a cache another role.
///
/// The last Admin stays Admin. Neither the old nor the new role may allow more than the caller has, by role and API key.
#[utoipa::path(patch, path = "/caches/{cache}/members")]
pub(super) async fn change(
    scope: CacheScope<ManageCacheMembers>,
    body: Body<RoleBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::change(&scope.caller, members(&scope.found), body.read()?, &engine).await
}

/// Removes a member of a cache.
///
/// The last Admin stays. Whoever may do more than the caller, by role and API key, can only leave by themselves.
#[utoipa::path(delete, path = "/caches/{cache}/members")]
pub(super) async fn remove(
    scope: CacheScope<ManageCacheMembers>,
    body: Body<UserBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::remove(&scope.caller, members(&scope.found), body.read()?, &engine).await
}
