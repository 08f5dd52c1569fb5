//! `/user/keys`: API keys. Only sessions manage them, so that a leaked key makes no siblings.

use actix_web::web;
use gradient_auth::Decision;
use gradient_domain::{
    ApiKeyId, ApiKeyName, CacheName, CachePermission, Moment, OrgPermission, OrganizationId, OrganizationName,
};
use gradient_engine::{ApiKeyUpdate, ApiKeyView, Engine, NewApiKey, NewPin};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::{AnyPermission, optional, present};
use crate::{
    ApiError,
    body::Body,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Sentence},
    scope::{SessionUser, SignedIn},
};

/// The longest time that a key can be made for, a hundred years. One that is to have no end says nothing.
const MAX_DAYS: u32 = 36_500;

pub(super) fn endpoints() -> Endpoints {
    endpoints! { ApiKeys:
        list;
        create => AlreadyExists, Conflict, InvalidName, NotFound, Validation;
        delete => NotFound;
        catalogue;
        change => AlreadyExists, InvalidName, Validation;
    }
}

/// An API key, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey, title = "ApiKey")]
struct KeyBody {
    id: ApiKeyId,
    name: ApiKeyName,
    #[schema(value_type = Vec<AnyPermission>)]
    permissions: Vec<&'static str>,
    /// The one organization that it is for.
    #[schema(value_type = Option<OrganizationName>)]
    organization: Option<String>,
    /// The one cache that it is for.
    #[schema(value_type = Option<CacheName>)]
    cache: Option<String>,
    created_at: Moment,
    last_used_at: Option<Moment>,
    expires_at: Option<Moment>,
}

impl From<ApiKeyView> for KeyBody {
    fn from(key: ApiKeyView) -> Self {
        let ApiKeyView { id, name, permissions, organization, cache, created_at, last_used_at, expires_at } = key;
        Self { id, name, permissions, organization, cache, created_at, last_used_at, expires_at }
    }
}

/// Lists the caller's API keys.
#[utoipa::path(get, path = "/user/keys")]
async fn list(user: SessionUser, engine: web::Data<Engine>) -> Result<Answer<Vec<KeyBody>>, ApiError> {
    let keys = engine.api_keys(user.user.user).await?;
    Ok(Answer(keys.into_iter().map(KeyBody::from).collect()))
}

/// What a new API key is to be.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewApiKey, examples(json!({"name": "ci-runner", "permissions": ["triggerEvaluation", "viewOrg"], "organization": "acme", "expires_in_days": 90})))]
struct CreateBody {
    #[schema(value_type = ApiKeyName)]
    name: String,
    /// Of organizations, or, when it is for a cache, of that.
    #[schema(value_type = Vec<AnyPermission>, min_items = 1)]
    permissions: Vec<String>,
    /// The one organization that it is for.
    #[schema(value_type = Option<OrganizationName>)]
    organization: Option<String>,
    /// The one cache that it is for.
    #[schema(value_type = Option<CacheName>)]
    cache: Option<String>,
    #[schema(minimum = 1, maximum = 36_500)]
    expires_in_days: Option<u32>,
}

/// Makes an API key: answers its plain text, this once.
///
/// It may be for one organization or for one cache, and for nothing else then. A user has at most 100 of them.
#[utoipa::path(post, path = "/user/keys")]
async fn create(
    user: SessionUser,
    signed_in: SignedIn,
    body: Body<CreateBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<String>, ApiError> {
    let body = body.read()?;
    if body.expires_in_days.is_some_and(|days| !(1..=MAX_DAYS).contains(&days)) {
        return Err(ApiError::bad_request(format!("expires_in_days has to be from 1 to {MAX_DAYS}")));
    }
    let pin = match (&body.organization, &body.cache) {
        (None, None) => NewPin::Everywhere,
        (Some(_), Some(_)) => return Err(ApiError::bad_request("a key can be for an organization or a cache, not for both")),
        (Some(name), None) => NewPin::Organization(organization(&engine, &signed_in, name).await?),
        (None, Some(name)) => {
            let found = match name.parse() {
                Ok(name) => engine.find_cache(&signed_in.caller, name).await?,
                Err(_) => None,
            };
            let sees = |access: &gradient_auth::CacheAccess| access.decide(&signed_in.caller, CachePermission::ViewCache);
            let found = found.filter(|found| sees(&found.access) == Decision::Granted);
            NewPin::Cache(found.ok_or_else(|| ApiError::not_found("there is no such cache"))?.cache.id)
        }
    };
    let wanted =
        NewApiKey { name: body.name.parse()?, permissions: body.permissions, pin, expires_in_days: body.expires_in_days };
    Ok(Answer(engine.create_api_key(user.user.user, wanted).await?.into_inner()))
}

async fn organization(engine: &Engine, user: &SignedIn, name: &str) -> Result<OrganizationId, ApiError> {
    let found = match name.parse() {
        Ok(name) => engine.find_organization(&user.caller, name).await?,
        Err(_) => None,
    };
    let sees = |access: &gradient_auth::OrganizationAccess| access.decide(&user.caller, OrgPermission::ViewOrg);
    let found = found.filter(|found| sees(&found.access) == Decision::Granted);
    Ok(found.ok_or_else(|| ApiError::not_found("there is no such organization"))?.organization.id)
}

/// What to change of an API key.
#[derive(Deserialize, ToSchema)]
#[schema(as = ApiKeyChanges)]
struct ChangeBody {
    #[schema(value_type = Option<ApiKeyName>)]
    name: Option<String>,
    #[schema(value_type = Option<Vec<AnyPermission>>, min_items = 1)]
    permissions: Option<Vec<String>>,
    #[schema(value_type = Option<OrganizationName>)]
    #[serde(default, deserialize_with = "present")]
    #[expect(clippy::option_option, reason = "absent, null and a value are three different things")]
    organization: Option<Option<String>>,
}

/// Changes an API key's name, permissions or organization; its secret stays.
///
/// What is left out stays as it is; `"organization": null` makes it a key for all organizations.
#[utoipa::path(patch, path = "/user/keys/{id}")]
async fn change(
    user: SessionUser,
    signed_in: SignedIn,
    id: web::Path<String>,
    body: Body<ChangeBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let body = body.read()?;
    let id = id.parse().map_err(|_| ApiError::not_found("there is no such API key"))?;
    let organization = match &body.organization {
        None => None,
        Some(None) => Some(None),
        Some(Some(name)) => Some(Some(organization(&engine, &signed_in, name).await?)),
    };
    let update = ApiKeyUpdate { name: optional(body.name.as_ref())?, permissions: body.permissions.clone(), organization };
    engine.change_api_key(user.user.user, id, update).await?;
    Ok(Answer(Sentence("the API key is changed".to_owned())))
}

/// Which API key is meant.
#[derive(Deserialize, ToSchema)]
#[schema(as = ApiKeyByName)]
struct DeleteBody {
    #[schema(value_type = ApiKeyName)]
    name: String,
}

/// Revokes an API key, by its name.
#[utoipa::path(delete, path = "/user/keys")]
async fn delete(user: SessionUser, body: Body<DeleteBody>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    let body = body.read()?;
    let name = body.name.parse().map_err(|_| ApiError::not_found("there is no such API key"))?;
    engine.delete_api_key(user.user.user, name).await?;
    Ok(Answer(Sentence("the API key is deleted".to_owned())))
}

/// The permissions that there are.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PermissionCatalogue)]
struct CatalogueBody {
    available_permissions: Vec<PermissionBody>,
    #[serde(rename = "availableCache")]
    available_cache: Vec<PermissionBody>,
}

/// A permission.
#[derive(Serialize, ToSchema)]
#[schema(as = PermissionLine)]
struct PermissionBody {
    #[schema(value_type = AnyPermission)]
    id: &'static str,
    /// Whether it lets the holder change something.
    mutating: bool,
}

/// Lists the permissions that a key can have.
#[utoipa::path(get, path = "/user/keys/permissions")]
async fn catalogue(_: SignedIn) -> Answer<CatalogueBody> {
    let of_organizations = OrgPermission::ALL.iter().map(|p| PermissionBody { id: p.as_str(), mutating: p.is_mutating() });
    let of_caches = CachePermission::ALL.iter().map(|p| PermissionBody { id: p.as_str(), mutating: p.is_mutating() });
    Answer(CatalogueBody { available_permissions: of_organizations.collect(), available_cache: of_caches.collect() })
}
