//! `/orgs/{org}/roles`, `/caches/{cache}/roles`: what members can be.

use actix_web::{http::Method, web};
use gradient_domain::{RoleId, RoleName};
use gradient_engine::{Engine, FoundCache, FoundOrganization, Membership, NewRole, RoleUpdate, RoleView};
use serde::{Deserialize, Serialize};

use super::{fields::optional, resource};
use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Sentence},
    scope::{CacheScope, ManageCacheRoles, ManageRoles, Member, OrganizationScope, ViewCache},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    let all_of_an_organization =
        [(Method::GET, web::to(of_organization::list)), (Method::POST, web::to(of_organization::create))];
    let one_of_an_organization =
        [(Method::PATCH, web::to(of_organization::change)), (Method::DELETE, web::to(of_organization::delete))];
    let all_of_a_cache = [(Method::GET, web::to(of_cache::list)), (Method::POST, web::to(of_cache::create))];
    let one_of_a_cache = [(Method::PATCH, web::to(of_cache::change)), (Method::DELETE, web::to(of_cache::delete))];
    config
        .service(resource("/orgs/{org}/roles", all_of_an_organization))
        .service(resource("/orgs/{org}/roles/{id}", one_of_an_organization))
        .service(resource("/caches/{cache}/roles", all_of_a_cache))
        .service(resource("/caches/{cache}/roles/{id}", one_of_a_cache));
}

#[derive(Serialize)]
struct RolesBody {
    roles: Vec<RoleLine>,
}

#[derive(Serialize)]
struct RoleLine {
    id: RoleId,
    name: RoleName,
    permissions: Vec<&'static str>,
    built_in: bool,
}

#[derive(Deserialize)]
struct CreateBody {
    name: String,
    permissions: Vec<String>,
}

#[derive(Deserialize)]
struct ChangeBody {
    name: Option<String>,
    permissions: Option<Vec<String>>,
}

async fn list(of: Membership, engine: &Engine) -> Result<Answer<RolesBody>, ApiError> {
    let line = |role: RoleView| {
        let RoleView { id, name, permissions, built_in } = role;
        RoleLine { id, name, permissions, built_in }
    };
    Ok(Answer(RolesBody { roles: engine.roles(of).await?.into_iter().map(line).collect() }))
}

async fn create(of: Membership, body: CreateBody, engine: &Engine) -> Result<Answer<RoleId>, ApiError> {
    let wanted = NewRole { name: body.name.parse()?, permissions: body.permissions };
    Ok(Answer(engine.create_role(of, wanted).await?))
}

async fn change(of: Membership, id: &str, body: ChangeBody, engine: &Engine) -> Result<Answer<Sentence>, ApiError> {
    let id = parse(id)?;
    let update = RoleUpdate { name: optional(body.name.as_ref())?, permissions: body.permissions };
    engine.change_role(of, id, update).await?;
    Ok(Answer(Sentence("the role is changed".to_owned())))
}

async fn delete(of: Membership, id: &str, engine: &Engine) -> Result<Answer<Sentence>, ApiError> {
    engine.delete_role(of, parse(id)?).await?;
    Ok(Answer(Sentence("the role is deleted".to_owned())))
}

fn parse(id: &str) -> Result<RoleId, ApiError> {
    id.parse().map_err(|_| ApiError::not_found("there is no such role"))
}

/// The handlers of one kind of membership: each does what the function of its name above does.
macro_rules! handlers {
    ($module:ident, $of:expr, $look:ty, $manage:ty) => {
        mod $module {
            use super::*;

            pub(super) async fn list(scope: $look, engine: web::Data<Engine>) -> Result<Answer<RolesBody>, ApiError> {
                super::list($of(&scope.found), &engine).await
            }

            pub(super) async fn create(
                scope: $manage,
                body: Body<CreateBody>,
                engine: web::Data<Engine>,
            ) -> Result<Answer<RoleId>, ApiError> {
                super::create($of(&scope.found), body.read()?, &engine).await
            }

            pub(super) async fn change(
                scope: $manage,
                path: web::Path<(String, String)>,
                body: Body<ChangeBody>,
                engine: web::Data<Engine>,
            ) -> Result<Answer<Sentence>, ApiError> {
                super::change($of(&scope.found), &path.1, body.read()?, &engine).await
            }

            pub(super) async fn delete(
                scope: $manage,
                path: web::Path<(String, String)>,
                engine: web::Data<Engine>,
            ) -> Result<Answer<Sentence>, ApiError> {
                super::delete($of(&scope.found), &path.1, &engine).await
            }
        }
    };
}

handlers! {
    of_organization,
    |found: &FoundOrganization| Membership::Organization(found.organization.id),
    OrganizationScope<Member>,
    OrganizationScope<ManageRoles>
}
handlers! {
    of_cache,
    |found: &FoundCache| Membership::Cache(found.cache.id),
    CacheScope<ViewCache>,
    CacheScope<ManageCacheRoles>
}
