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
#[utoipa::path(post, path = "/caches/{cache}/members")]
pub(super) async fn add(
    scope: CacheScope<ManageCacheMembers>,
    body: Body<RoleBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::add(members(&scope.found), body.read()?, &engine).await
}

/// Gives a member of a cache another role.
///
/// The last Admin stays Admin.
#[utoipa::path(patch, path = "/caches/{cache}/members")]
pub(super) async fn change(
    scope: CacheScope<ManageCacheMembers>,
    body: Body<RoleBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::change(members(&scope.found), body.read()?, &engine).await
}

/// Removes a member of a cache.
///
/// The last Admin stays.
#[utoipa::path(delete, path = "/caches/{cache}/members")]
pub(super) async fn remove(
    scope: CacheScope<ManageCacheMembers>,
    body: Body<UserBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::remove(members(&scope.found), body.read()?, &engine).await
}
