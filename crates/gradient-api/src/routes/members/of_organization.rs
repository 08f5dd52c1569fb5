use actix_web::web;
use gradient_engine::{Engine, FoundOrganization, Membership};

use super::{MemberBody, RoleBody, UserBody};
use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Sentence},
    scope::{ManageMembers, Member, OrganizationScope},
};

fn members(found: &FoundOrganization) -> Membership {
    Membership::Organization(found.organization.id)
}

/// Lists the members of an organization.
#[utoipa::path(get, path = "/orgs/{org}/users")]
pub(super) async fn list(
    scope: OrganizationScope<Member>,
    engine: web::Data<Engine>,
) -> Result<Answer<Vec<MemberBody>>, ApiError> {
    super::list(members(&scope.found), &engine).await
}

/// Adds a member to an organization.
///
/// User and role are named; there is a 404 for an unknown user.
#[utoipa::path(post, path = "/orgs/{org}/users")]
pub(super) async fn add(
    scope: OrganizationScope<ManageMembers>,
    body: Body<RoleBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::add(members(&scope.found), body.read()?, &engine).await
}

/// Gives a member of an organization another role.
///
/// The last Admin stays Admin.
#[utoipa::path(patch, path = "/orgs/{org}/users")]
pub(super) async fn change(
    scope: OrganizationScope<ManageMembers>,
    body: Body<RoleBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::change(members(&scope.found), body.read()?, &engine).await
}

/// Removes a member of an organization.
///
/// The last Admin stays.
#[utoipa::path(delete, path = "/orgs/{org}/users")]
pub(super) async fn remove(
    scope: OrganizationScope<ManageMembers>,
    body: Body<UserBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::remove(members(&scope.found), body.read()?, &engine).await
}
