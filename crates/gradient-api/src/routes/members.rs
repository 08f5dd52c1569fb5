//! `/orgs/{org}/users`, `/caches/{cache}/members`: who belongs to an organization or a cache, and in which role.

mod of_cache;
mod of_organization;

use gradient_auth::Caller;
use gradient_domain::{RoleName, Username};
use gradient_engine::{Engine, Member as MemberView, Membership};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::sought;
use crate::{
    ApiError,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Sentence},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Members:
        of_organization::list;
        of_organization::add => Conflict, AlreadyExists, Validation;
        of_organization::change => Conflict, Validation;
        of_organization::remove => Conflict;
        of_cache::list;
        of_cache::add => Conflict, AlreadyExists, Validation;
        of_cache::change => Conflict, Validation;
        of_cache::remove => Conflict;
    }
}

/// A member.
#[derive(Serialize, ToSchema)]
#[schema(as = Member, title = "Member")]
struct MemberBody {
    id: Username,
    name: RoleName,
}

/// Who is to be what.
#[derive(Deserialize, ToSchema)]
#[schema(as = MemberRole)]
struct RoleBody {
    #[schema(value_type = Username)]
    user: String,
    #[schema(value_type = RoleName)]
    role: String,
}

/// Who is meant.
#[derive(Deserialize, ToSchema)]
#[schema(as = MemberName)]
struct UserBody {
    #[schema(value_type = Username)]
    user: String,
}

async fn list(of: Membership, engine: &Engine) -> Result<Answer<Vec<MemberBody>>, ApiError> {
    let body = |member: MemberView| MemberBody { id: member.username, name: member.role };
    Ok(Answer(engine.members(of).await?.into_iter().map(body).collect()))
}

async fn add(caller: &Caller, of: Membership, body: RoleBody, engine: &Engine) -> Result<Answer<Sentence>, ApiError> {
    engine.add_member(caller, of, sought(&body.user), sought(&body.role)).await?;
    Ok(Answer(Sentence("the member is added".to_owned())))
}

async fn change(caller: &Caller, of: Membership, body: RoleBody, engine: &Engine) -> Result<Answer<Sentence>, ApiError> {
    engine.change_member(caller, of, sought(&body.user), sought(&body.role)).await?;
    Ok(Answer(Sentence("the member's role is changed".to_owned())))
}

async fn remove(caller: &Caller, of: Membership, body: UserBody, engine: &Engine) -> Result<Answer<Sentence>, ApiError> {
    engine.remove_member(caller, of, sought(&body.user)).await?;
    Ok(Answer(Sentence("the member is removed".to_owned())))
}
