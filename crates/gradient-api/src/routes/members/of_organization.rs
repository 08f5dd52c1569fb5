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
/// Nobody can give a role that may do more than they may themselves, by role and API key: that is a 403.
#[utoipa::path(post, path = "/orgs/{org}/users")]
pub(super) async fn add(
    scope: OrganizationScope<ManageMembers>,
    body: Body<RoleBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::add(&scope.caller, members(&scope.found), body.read()?, &engine).await
}

/// Gives a member of an organization another role.
///
/// The last Admin stays Admin. Neither the old nor the new role may allow more than the caller has, by role and API key.
#[utoipa::path(patch, path = "/orgs/{org}/users")]
pub(super) async fn change(
    scope: OrganizationScope<ManageMembers>,
    body: Body<RoleBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::change(&scope.caller, members(&scope.found), body.read()?, &engine).await
}

/// Removes a member of an organization.
///
/// The last Admin stays. Whoever may do more than the caller, by role and API key, can only leave by themselves.
#[utoipa::path(delete, path = "/orgs/{org}/users")]
pub(super) async fn remove(
    scope: OrganizationScope<ManageMembers>,
    body: Body<UserBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    super::remove(&scope.caller, members(&scope.found), body.read()?, &engine).await
}
