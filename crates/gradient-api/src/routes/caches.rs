//! `/caches`: caches and their keys.

use actix_web::{http::Method, web};
use gradient_auth::{Authenticated, Caller, Pin, Via};
use gradient_domain::{CacheId, CacheName, CachePermission, DisplayName, Moment, Username};
use gradient_engine::{CacheChanges, Engine, FoundCache, NewCache};
use serde::{Deserialize, Serialize};

use super::{
    fields::{PageQuery, description, optional},
    resource,
};
use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Page, Sentence},
    error::Code,
    scope::{Anybody, CacheScope, DeleteCache, ManageCacheSettings, SignedIn, ViewCache},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    let one = [(Method::GET, web::to(show)), (Method::PATCH, web::to(change)), (Method::DELETE, web::to(delete))];
    let active = [(Method::POST, web::to(activate)), (Method::DELETE, web::to(deactivate))];
    config
        .service(resource("/caches", [(Method::GET, web::to(list)), (Method::PUT, web::to(create))]))
        .service(resource("/caches/{cache}", one))
        .service(resource("/caches/{cache}/active", active))
        .service(resource("/caches/{cache}/key", [(Method::GET, web::to(key))]))
        .service(resource("/caches/{cache}/public-key", [(Method::GET, web::to(key))]));
}

#[derive(Serialize)]
struct CacheBody {
    id: CacheId,
    name: CacheName,
    display_name: DisplayName,
    description: String,
    priority: i32,
    active: bool,
    public: bool,
    public_key: String,
    can_edit: bool,
    created_by: Option<Username>,
    created_at: Moment,
}

impl CacheBody {
    fn new(found: FoundCache, caller: &Caller) -> Self {
        let FoundCache { cache, access, public_key, created_by } = found;
        Self {
            id: cache.id,
            name: cache.name,
            display_name: cache.display_name,
            description: cache.description,
            priority: cache.priority,
            active: cache.active,
            public: cache.public,
            public_key: public_key.to_string(),
            can_edit: access.permissions(caller).contains(CachePermission::ManageCacheSettings),
            created_by,
            created_at: cache.created_at,
        }
    }
}

/// The one list that a key for a cache may have, too.
async fn list(
    Anybody(caller): Anybody,
    query: web::Query<PageQuery>,
    engine: web::Data<Engine>,
) -> Result<Answer<Page<CacheBody>>, ApiError> {
    if caller.user().is_none() {
        return Err(ApiError::unauthorized());
    }
    let window = query.window()?;
    let (items, total) = engine.caches(&caller, window.limit, window.offset).await?;
    Ok(Answer(window.of(items.into_iter().map(|found| CacheBody::new(found, &caller)).collect(), total)))
}

#[derive(Deserialize)]
struct CreateBody {
    name: String,
    display_name: String,
    #[serde(default)]
    description: String,
    priority: Option<i32>,
    #[serde(default)]
    public: bool,
}

async fn create(user: SignedIn, body: Body<CreateBody>, engine: web::Data<Engine>) -> Result<Answer<CacheId>, ApiError> {
    may_create(&user.user)?;
    let body = body.read()?;
    let wanted = NewCache {
        name: body.name.parse()?,
        display_name: body.display_name.parse()?,
        description: description(body.description)?,
        priority: priority(body.priority.unwrap_or(40))?,
        public: body.public,
    };
    Ok(Answer(engine.create_cache(user.user.user, wanted).await?))
}

/// Whoever makes a cache becomes its Admin, so a key has to be one that may as much as that.
fn may_create(user: &Authenticated) -> Result<(), ApiError> {
    match user.via {
        Via::ApiKey(key)
            if key.pin != Pin::Everywhere || !key.cache_permissions.contains(CachePermission::ManageCacheSettings) =>
        {
            Err(ApiError::new(Code::Forbidden, "this API key may not create caches"))
        }
        Via::ApiKey(_) | Via::Session(_) => Ok(()),
    }
}

fn priority(priority: i32) -> Result<i32, ApiError> {
    if (0..=10_000).contains(&priority) {
        Ok(priority)
    } else {
        Err(ApiError::new(Code::Validation, "priority: must be from 0 to 10000"))
    }
}

async fn show(scope: CacheScope<ViewCache>) -> Answer<CacheBody> {
    Answer(CacheBody::new(scope.found, &scope.caller))
}

#[derive(Deserialize)]
struct ChangeBody {
    name: Option<String>,
    display_name: Option<String>,
    description: Option<String>,
    priority: Option<i32>,
    public: Option<bool>,
}

async fn change(
    scope: CacheScope<ManageCacheSettings>,
    body: Body<ChangeBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let body = body.read()?;
    let changes = CacheChanges {
        name: optional(body.name.as_ref())?,
        display_name: optional(body.display_name.as_ref())?,
        description: body.description.map(description).transpose()?,
        priority: body.priority.map(priority).transpose()?,
        active: None,
        public: body.public,
    };
    engine.change_cache(&scope.found.cache, changes).await?;
    Ok(Answer(Sentence("the cache is changed".to_owned())))
}

async fn delete(scope: CacheScope<DeleteCache>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    engine.delete_cache(&scope.found.cache).await?;
    Ok(Answer(Sentence("the cache is deleted".to_owned())))
}

async fn activate(scope: CacheScope<ManageCacheSettings>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    let changes = CacheChanges { active: Some(true), ..CacheChanges::default() };
    engine.change_cache(&scope.found.cache, changes).await?;
    Ok(Answer(Sentence("the cache is active".to_owned())))
}

async fn deactivate(scope: CacheScope<ManageCacheSettings>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    let changes = CacheChanges { active: Some(false), ..CacheChanges::default() };
    engine.change_cache(&scope.found.cache, changes).await?;
    Ok(Answer(Sentence("the cache is inactive: it serves nothing".to_owned())))
}

async fn key(scope: CacheScope<ViewCache>) -> Answer<String> {
    Answer(scope.found.public_key.to_string())
}
