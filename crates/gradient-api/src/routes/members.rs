//! `/orgs/{org}/users`, `/caches/{cache}/members`: who belongs to an organization or a cache, and in which role.

use actix_web::{http::Method, web};
use gradient_domain::{RoleName, Username};
use gradient_engine::{Engine, Member as MemberView, Membership};
use serde::{Deserialize, Serialize};

use super::{fields::sought, resource};
use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Sentence},
    scope::{CacheScope, ManageCacheMembers, ManageMembers, Member, OrganizationScope, ViewCache},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    let of_an_organization = [
        (Method::GET, web::to(of_organization::list)),
        (Method::POST, web::to(of_organization::add)),
        (Method::PATCH, web::to(of_organization::change)),
        (Method::DELETE, web::to(of_organization::remove)),
    ];
    let of_a_cache = [
        (Method::GET, web::to(of_cache::list)),
        (Method::POST, web::to(of_cache::add)),
        (Method::PATCH, web::to(of_cache::change)),
        (Method::DELETE, web::to(of_cache::remove)),
    ];
    config.service(resource("/orgs/{org}/users", of_an_organization)).service(resource("/caches/{cache}/members", of_a_cache));
}

#[derive(Serialize)]
struct MemberBody {
    id: Username,
    name: RoleName,
}

#[derive(Deserialize)]
struct RoleBody {
    user: String,
    role: String,
}

#[derive(Deserialize)]
struct UserBody {
    user: String,
}

async fn list(of: Membership, engine: &Engine) -> Result<Answer<Vec<MemberBody>>, ApiError> {
    let body = |member: MemberView| MemberBody { id: member.username, name: member.role };
    Ok(Answer(engine.members(of).await?.into_iter().map(body).collect()))
}

async fn add(of: Membership, body: RoleBody, engine: &Engine) -> Result<Answer<Sentence>, ApiError> {
    engine.add_member(of, sought(&body.user), sought(&body.role)).await?;
    Ok(Answer(Sentence("the member is added".to_owned())))
}

async fn change(of: Membership, body: RoleBody, engine: &Engine) -> Result<Answer<Sentence>, ApiError> {
    engine.change_member(of, sought(&body.user), sought(&body.role)).await?;
    Ok(Answer(Sentence("the member's role is changed".to_owned())))
}

async fn remove(of: Membership, body: UserBody, engine: &Engine) -> Result<Answer<Sentence>, ApiError> {
    engine.remove_member(of, sought(&body.user)).await?;
    Ok(Answer(Sentence("the member is removed".to_owned())))
}

/// The handlers of one kind of membership: each does what the function of its name above does.
macro_rules! handlers {
    ($module:ident, $of:expr, $look:ty, $manage:ty) => {
        mod $module {
            use super::*;

            pub(super) async fn list(scope: $look, engine: web::Data<Engine>) -> Result<Answer<Vec<MemberBody>>, ApiError> {
                super::list($of(&scope.found), &engine).await
            }

            pub(super) async fn add(
                scope: $manage,
                body: Body<RoleBody>,
                engine: web::Data<Engine>,
            ) -> Result<Answer<Sentence>, ApiError> {
                super::add($of(&scope.found), body.read()?, &engine).await
            }

            pub(super) async fn change(
                scope: $manage,
                body: Body<RoleBody>,
                engine: web::Data<Engine>,
            ) -> Result<Answer<Sentence>, ApiError> {
                super::change($of(&scope.found), body.read()?, &engine).await
            }

            pub(super) async fn remove(
                scope: $manage,
                body: Body<UserBody>,
                engine: web::Data<Engine>,
            ) -> Result<Answer<Sentence>, ApiError> {
                super::remove($of(&scope.found), body.read()?, &engine).await
            }
        }
    };
}

handlers! {
    of_organization,
    |found: &gradient_engine::FoundOrganization| Membership::Organization(found.organization.id),
    OrganizationScope<Member>,
    OrganizationScope<ManageMembers>
}
handlers! {
    of_cache,
    |found: &gradient_engine::FoundCache| Membership::Cache(found.cache.id),
    CacheScope<ViewCache>,
    CacheScope<ManageCacheMembers>
}
