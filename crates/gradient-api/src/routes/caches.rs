//! `/caches`: caches and their keys.

use actix_web::web;
use gradient_auth::{Authenticated, Caller, Pin};
use gradient_domain::{CacheId, CacheName, CachePermission, DisplayName, Moment, Username};
use gradient_engine::{CacheChanges, Engine, FoundCache, NewCache};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::{PageQuery, description, optional};
use crate::{
    ApiError,
    body::Body,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Page, Sentence},
    error::Code,
    scope::{CacheScope, DeleteCache, Identified, ManageCacheSettings, SignedIn, ViewCache},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Caches:
        list;
        create => AlreadyExists, InvalidName, Validation;
        show;
        change => AlreadyExists, InvalidName, Validation;
        delete;
        activate;
        deactivate;
        key;
        public_key;
    }
}

/// A cache.
#[derive(Serialize, ToSchema)]
#[schema(as = Cache, title = "Cache")]
struct CacheBody {
    id: CacheId,
    name: CacheName,
    display_name: DisplayName,
    #[schema(example = "What our machines need.")]
    description: String,
    /// Which of several caches Nix asks first: the one with the lowest.
    #[schema(example = 40)]
    priority: i32,
    /// Whether it serves.
    active: bool,
    /// Whether everybody may read it.
    public: bool,
    #[schema(example = "gradient.example.com-main:1mUeXHAkR6T2NdsWkXqCdrnB0z6MGtQm3HBBwN0xdjk=")]
    public_key: String,
    /// Whether the caller may change it.
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

/// Lists the caches that the caller belongs to, and the public ones, by name.
///
/// The one list that a key for a cache may have, too.
#[utoipa::path(get, path = "/caches")]
async fn list(
    Identified(caller): Identified,
    query: web::Query<PageQuery>,
    engine: web::Data<Engine>,
) -> Result<Answer<Page<CacheBody>>, ApiError> {
    let window = query.window()?;
    let (items, total) = engine.caches(&caller, window.limit, window.offset).await?;
    Ok(Answer(window.of(items.into_iter().map(|found| CacheBody::new(found, &caller)).collect(), total)))
}

/// What a new cache is to be.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewCache)]
struct CreateBody {
    #[schema(value_type = CacheName)]
    name: String,
    #[schema(value_type = DisplayName)]
    display_name: String,
    #[serde(default)]
    #[schema(max_length = 10000, example = "What our machines need.")]
    description: String,
    /// Which of several caches Nix asks first: the one with the lowest.
    #[schema(minimum = 0, maximum = 10000, default = 40, example = 40)]
    priority: Option<i32>,
    /// Whether everybody may read it.
    #[serde(default)]
    public: bool,
}

/// Creates a cache.
///
/// The caller becomes its Admin, and it gets a signing key of its own. An API key has to be for no organization or cache in
/// particular, and to have `manageCacheSettings`.
#[utoipa::path(put, path = "/caches")]
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
    if user.pin() == Pin::Everywhere && user.carries_on_caches(CachePermission::ManageCacheSettings) {
        Ok(())
    } else {
        Err(ApiError::new(Code::Forbidden, "this API key may not create caches"))
    }
}

fn priority(priority: i32) -> Result<i32, ApiError> {
    if (0..=10_000).contains(&priority) {
        Ok(priority)
    } else {
        Err(ApiError::new(Code::Validation, "priority: must be from 0 to 10000"))
    }
}

/// Shows a cache.
#[utoipa::path(get, path = "/caches/{cache}")]
async fn show(scope: CacheScope<ViewCache>) -> Answer<CacheBody> {
    Answer(CacheBody::new(scope.found, &scope.caller))
}

/// What to change of a cache.
#[derive(Deserialize, ToSchema)]
#[schema(as = CacheChanges)]
struct ChangeBody {
    #[schema(value_type = Option<CacheName>)]
    name: Option<String>,
    #[schema(value_type = Option<DisplayName>)]
    display_name: Option<String>,
    #[schema(max_length = 10000, example = "What our machines need.")]
    description: Option<String>,
    #[schema(minimum = 0, maximum = 10000, example = 40)]
    priority: Option<i32>,
    public: Option<bool>,
}

/// Changes a cache.
///
/// What is left out stays as it is.
#[utoipa::path(patch, path = "/caches/{cache}")]
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

/// Deletes a cache. It serves nothing at once; what it had is removed in the background.
#[utoipa::path(delete, path = "/caches/{cache}")]
async fn delete(scope: CacheScope<DeleteCache>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    engine.delete_cache(&scope.found.cache).await?;
    Ok(Answer(Sentence("the cache is deleted".to_owned())))
}

/// Makes a cache serve again.
#[utoipa::path(post, path = "/caches/{cache}/active")]
async fn activate(scope: CacheScope<ManageCacheSettings>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    let changes = CacheChanges { active: Some(true), ..CacheChanges::default() };
    engine.change_cache(&scope.found.cache, changes).await?;
    Ok(Answer(Sentence("the cache is active".to_owned())))
}

/// Makes a cache serve nothing; what it has stays.
#[utoipa::path(delete, path = "/caches/{cache}/active")]
async fn deactivate(scope: CacheScope<ManageCacheSettings>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    let changes = CacheChanges { active: Some(false), ..CacheChanges::default() };
    engine.change_cache(&scope.found.cache, changes).await?;
    Ok(Answer(Sentence("the cache is inactive: it serves nothing".to_owned())))
}

/// Shows the public key that the cache's signatures are checked with, as Nix takes it.
#[utoipa::path(get, path = "/caches/{cache}/key")]
async fn key(scope: CacheScope<ViewCache>) -> Answer<String> {
    Answer(scope.found.public_key.to_string())
}

/// Shows the public key that the cache's signatures are checked with, like `/caches/{cache}/key`.
#[utoipa::path(get, path = "/caches/{cache}/public-key")]
async fn public_key(scope: CacheScope<ViewCache>) -> Answer<String> {
    Answer(scope.found.public_key.to_string())
}
