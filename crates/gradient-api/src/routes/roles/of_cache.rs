use actix_web::web;
use gradient_domain::RoleId;
use gradient_engine::{Engine, FoundCache, Membership};

use super::{ChangeBody, CreateBody, RolesBody};
use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Sentence},
    scope::{CacheMember, CacheScope, ManageCacheRoles},
};

fn members(found: &FoundCache) -> Membership {
    Membership::Cache(found.cache.id)
}

/// Lists the roles of a cache.
#[utoipa::path(get, path = "/caches/{cache}/roles")]
pub(super) async fn list(scope: CacheScope<CacheMember>, engine: web::Data<Engine>) -> Result<Answer<RolesBody>, ApiError> {
    super::list(members(&scope.found), &engine).await
}

/// Makes a role of a cache.
///
/// It can allow what the caller has, by role and API key, and no more.
#[utoipa::path(post, path = "/caches/{cache}/roles")]
pub(super) async fn create(
    scope: CacheScope<ManageCacheRoles>,
    body: Body<CreateBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<RoleId>, ApiError> {
    super::create(&scope.caller, members(&scope.found), body.read()?, &engine).await
}

/// Changes a role of a cache.
///
/// What is left out stays as it is. Built-in roles cannot be changed, nor those that allow, or are to allow, more than the caller
/// has by role and API key.
#[utoipa::path(patch, path = "/caches/{cache}/roles/{id}")]
pub(super) async fn change(
    scope: CacheScope<ManageCacheRoles>,
    path: web::Path<(String, String)>,
    body: Body<ChangeBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::change(&scope.caller, members(&scope.found), &path.1, body.read()?, &engine).await
}

/// Deletes a role of a cache.
///
/// Neither a built-in one, nor one that somebody has, nor one that allows more than the caller has by role and API key.
#[utoipa::path(delete, path = "/caches/{cache}/roles/{id}")]
pub(super) async fn delete(
    scope: CacheScope<ManageCacheRoles>,
    path: web::Path<(String, String)>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::delete(&scope.caller, members(&scope.found), &path.1, &engine).await
}
