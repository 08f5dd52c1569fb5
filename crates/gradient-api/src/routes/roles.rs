//! `/orgs/{org}/roles`, `/caches/{cache}/roles`: what members can be.

mod of_cache;
mod of_organization;

use gradient_auth::Caller;
use gradient_domain::{RoleId, RoleName};
use gradient_engine::{Engine, Membership, NewRole, RoleUpdate, RoleView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::{AnyPermission, optional};
use crate::{
    ApiError,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Sentence},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Roles:
        of_organization::list;
        of_organization::create => AlreadyExists, InvalidName, Validation;
        of_organization::change => AlreadyExists, InvalidName, Validation;
        of_organization::delete => Validation;
        of_cache::list;
        of_cache::create => AlreadyExists, InvalidName, Validation;
        of_cache::change => AlreadyExists, InvalidName, Validation;
        of_cache::delete => Validation;
    }
}

/// The roles, built-in ones first.
#[derive(Serialize, ToSchema)]
#[schema(as = Roles)]
struct RolesBody {
    roles: Vec<RoleLine>,
}

/// A role.
#[derive(Serialize, ToSchema)]
#[schema(as = Role)]
struct RoleLine {
    id: RoleId,
    name: RoleName,
    #[schema(value_type = Vec<AnyPermission>)]
    permissions: Vec<&'static str>,
    built_in: bool,
}

/// What a new role is to be.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewRole)]
struct CreateBody {
    #[schema(value_type = RoleName)]
    name: String,
    #[schema(value_type = Vec<AnyPermission>)]
    permissions: Vec<String>,
}

/// What to change of a role.
#[derive(Deserialize, ToSchema)]
#[schema(as = RoleChanges)]
struct ChangeBody {
    #[schema(value_type = Option<RoleName>)]
    name: Option<String>,
    #[schema(value_type = Option<Vec<AnyPermission>>)]
    permissions: Option<Vec<String>>,
}

async fn list(of: Membership, engine: &Engine) -> Result<Answer<RolesBody>, ApiError> {
    let line = |role: RoleView| {
        let RoleView { id, name, permissions, built_in } = role;
        RoleLine { id, name, permissions, built_in }
    };
    Ok(Answer(RolesBody { roles: engine.roles(of).await?.into_iter().map(line).collect() }))
}

async fn create(caller: &Caller, of: Membership, body: CreateBody, engine: &Engine) -> Result<Answer<RoleId>, ApiError> {
    let wanted = NewRole { name: body.name.parse()?, permissions: body.permissions };
    Ok(Answer(engine.create_role(caller, of, wanted).await?))
}

async fn change(
    caller: &Caller,
    of: Membership,
    id: &str,
    body: ChangeBody,
    engine: &Engine,
) -> Result<Answer<Sentence>, ApiError> {
    let id = parse(id)?;
    let update = RoleUpdate { name: optional(body.name.as_ref())?, permissions: body.permissions };
    engine.change_role(caller, of, id, update).await?;
    Ok(Answer(Sentence("the role is changed".to_owned())))
}

async fn delete(caller: &Caller, of: Membership, id: &str, engine: &Engine) -> Result<Answer<Sentence>, ApiError> {
    engine.delete_role(caller, of, parse(id)?).await?;
    Ok(Answer(Sentence("the role is deleted".to_owned())))
}

fn parse(id: &str) -> Result<RoleId, ApiError> {
    id.parse().map_err(|_| ApiError::not_found("there is no such role"))
}
