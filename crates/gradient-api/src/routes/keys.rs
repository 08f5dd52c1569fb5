//! `/user/keys`: API keys. Only sessions manage them, so that a leaked key makes no siblings.

use actix_web::{http::Method, web};
use gradient_auth::Decision;
use gradient_domain::{ApiKeyId, ApiKeyName, CachePermission, Moment, OrgPermission, OrganizationId};
use gradient_engine::{ApiKeyUpdate, ApiKeyView, Engine, NewApiKey, NewPin};
use serde::{Deserialize, Serialize};

use super::{
    fields::{optional, present},
    resource,
};
use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Sentence},
    scope::{SessionUser, SignedIn},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    let of_the_user = [(Method::GET, web::to(list)), (Method::POST, web::to(create)), (Method::DELETE, web::to(delete))];
    config
        .service(resource("/user/keys", of_the_user))
        .service(resource("/user/keys/permissions", [(Method::GET, web::to(catalogue))]))
        .service(resource("/user/keys/{id}", [(Method::PATCH, web::to(change))]));
}

#[derive(Serialize)]
struct KeyBody {
    id: ApiKeyId,
    name: ApiKeyName,
    permissions: Vec<&'static str>,
    organization: Option<String>,
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

async fn list(user: SessionUser, engine: web::Data<Engine>) -> Result<Answer<Vec<KeyBody>>, ApiError> {
    let keys = engine.api_keys(user.user.user).await?;
    Ok(Answer(keys.into_iter().map(KeyBody::from).collect()))
}

#[derive(Deserialize)]
struct CreateBody {
    name: String,
    permissions: Vec<String>,
    organization: Option<String>,
    cache: Option<String>,
    expires_in_days: Option<u32>,
}

/// The answer is the plain text of the key, this once.
async fn create(
    user: SessionUser,
    signed_in: SignedIn,
    body: Body<CreateBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<String>, ApiError> {
    let body = body.read()?;
    if body.expires_in_days == Some(0) {
        return Err(ApiError::bad_request("expires_in_days has to be at least 1"));
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

#[derive(Deserialize)]
struct ChangeBody {
    name: Option<String>,
    permissions: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    #[expect(clippy::option_option, reason = "absent, null and a value are three different things")]
    organization: Option<Option<String>>,
}

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

#[derive(Deserialize)]
struct DeleteBody {
    name: String,
}

async fn delete(user: SessionUser, body: Body<DeleteBody>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    let body = body.read()?;
    let name = body.name.parse().map_err(|_| ApiError::not_found("there is no such API key"))?;
    engine.delete_api_key(user.user.user, name).await?;
    Ok(Answer(Sentence("the API key is deleted".to_owned())))
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
struct CatalogueBody {
    available_permissions: Vec<PermissionBody>,
    #[serde(rename = "availableCache")]
    available_cache: Vec<PermissionBody>,
}

#[derive(Serialize)]
struct PermissionBody {
    id: &'static str,
    mutating: bool,
}

async fn catalogue(_: SignedIn) -> Answer<CatalogueBody> {
    let of_organizations = OrgPermission::ALL.iter().map(|p| PermissionBody { id: p.as_str(), mutating: p.is_mutating() });
    let of_caches = CachePermission::ALL.iter().map(|p| PermissionBody { id: p.as_str(), mutating: p.is_mutating() });
    Answer(CatalogueBody { available_permissions: of_organizations.collect(), available_cache: of_caches.collect() })
}
