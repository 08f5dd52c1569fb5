use actix_web::web;
use gradient_domain::RoleId;
use gradient_engine::{Engine, FoundOrganization, Membership};

use super::{ChangeBody, CreateBody, RolesBody};
use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Sentence},
    scope::{ManageRoles, Member, OrganizationScope},
};

fn members(found: &FoundOrganization) -> Membership {
    Membership::Organization(found.organization.id)
}

/// Lists the roles of an organization.
#[utoipa::path(get, path = "/orgs/{org}/roles")]
pub(super) async fn list(scope: OrganizationScope<Member>, engine: web::Data<Engine>) -> Result<Answer<RolesBody>, ApiError> {
    super::list(members(&scope.found), &engine).await
}

/// Makes a role of an organization.
///
/// It can allow what the caller has, by role and API key, and no more.
#[utoipa::path(post, path = "/orgs/{org}/roles")]
pub(super) async fn create(
    scope: OrganizationScope<ManageRoles>,
    body: Body<CreateBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<RoleId>, ApiError> {
    super::create(&scope.caller, members(&scope.found), body.read()?, &engine).await
}

/// Changes a role of an organization.
///
/// What is left out stays as it is. Built-in roles cannot be changed, nor those that allow, or are to allow, more than the caller
/// has by role and API key.
#[utoipa::path(patch, path = "/orgs/{org}/roles/{id}")]
pub(super) async fn change(
    scope: OrganizationScope<ManageRoles>,
    path: web::Path<(String, String)>,
    body: Body<ChangeBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::change(&scope.caller, members(&scope.found), &path.1, body.read()?, &engine).await
}

/// Deletes a role of an organization.
///
/// Neither a built-in one, nor one that somebody has, nor one that allows more than the caller has by role and API key.
#[utoipa::path(delete, path = "/orgs/{org}/roles/{id}")]
pub(super) async fn delete(
    scope: OrganizationScope<ManageRoles>,
    path: web::Path<(String, String)>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::delete(&scope.caller, members(&scope.found), &path.1, &engine).await
}
