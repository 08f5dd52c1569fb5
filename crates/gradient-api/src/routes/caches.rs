//! `/caches`: caches and their keys.

use actix_web::web;
use gradient_auth::{Authenticated, Caller, Pin};
use gradient_domain::{CacheId, CacheName, CachePermission, DisplayName, Moment, OrganizationName, Username};
use gradient_engine::{CacheChanges, CacheStatistics, Engine, FoundCache, NewCache, NewSigner};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cache_keys::{Signing, of_worker};
use super::fields::{PageQuery, description, optional, present};
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
        change => AlreadyExists, Conflict, InvalidName, Validation;
        delete;
        activate;
        deactivate;
        key;
        public_key;
        stats => Unavailable;
    }
}

/// A cache.
#[derive(Serialize, ToSchema)]
#[schema(as = Cache, title = "Cache")]
#[expect(clippy::struct_excessive_bools, reason = "the shape of the answer")]
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
    /// Who has the secret of that key, and makes its signatures.
    signing: Signing,
    /// For how many days it keeps what nobody fetches; for ever without.
    #[schema(example = 90)]
    retention_days: Option<i32>,
    /// How much it may have, in bytes; any amount without.
    #[schema(example = 100_000_000_000_u64)]
    max_bytes: Option<i64>,
    /// Whether it keeps what it finds in its upstreams and somebody fetches.
    #[schema(example = true)]
    pull_through: bool,
    /// Whether the caller may change it.
    can_edit: bool,
    created_by: Option<Username>,
    created_at: Moment,
}

impl CacheBody {
    fn new(found: FoundCache, caller: &Caller) -> Self {
        let FoundCache { cache, access, public_key, signer, created_by } = found;
        Self {
            id: cache.id,
            name: cache.name,
            display_name: cache.display_name,
            description: cache.description,
            priority: cache.priority,
            active: cache.active,
            public: cache.public,
            public_key: public_key.to_string(),
            signing: signer.into(),
            retention_days: cache.retention_days,
            max_bytes: cache.max_bytes,
            pull_through: cache.pull_through,
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
    /// For how many days it keeps what nobody fetches; `null` is for ever.
    #[serde(default, deserialize_with = "present")]
    #[expect(clippy::option_option, reason = "absent, null and a value are three different things")]
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 36500, example = 90)]
    retention_days: Option<Option<i32>>,
    /// How much it may have, in bytes; `null` is any amount.
    #[serde(default, deserialize_with = "present")]
    #[expect(clippy::option_option, reason = "absent, null and a value are three different things")]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 100_000_000_000_u64)]
    max_bytes: Option<Option<i64>>,
    /// Whether it keeps what it finds in its upstreams and somebody fetches.
    pull_through: Option<bool>,
    /// Who signs what is published from now on: the server, with a key that it has or makes, or workers, with the key that they
    /// have. What is published then is served once it is signed. This needs `manageCacheKeys` as well, unless it is so already. The
    /// keys that the cache has go on to sign until they are retired.
    signing: Option<Signing>,
    /// With `signing: worker`, the public key of a key that the cache does not have yet.
    #[schema(example = "cache.example.com-1:1mUeXHAkR6T2NdsWkXqCdrnB0z6MGtQm3HBBwN0xdjk=")]
    public_key: Option<String>,
    /// With `public_key`, the organization whose workers sign with it. The caller has to manage its workers.
    #[schema(value_type = Option<OrganizationName>)]
    organization: Option<String>,
}

/// The longest retention, in days: a hundred years.
const MAX_RETENTION: i32 = 36_500;

/// The largest size; every program that reads JSON has it exactly.
const MAX_BYTES: i64 = (1 << 53) - 1;

fn retention(days: Option<i32>) -> Result<Option<i32>, ApiError> {
    if days.is_none_or(|days| (1..=MAX_RETENTION).contains(&days)) {
        Ok(days)
    } else {
        Err(ApiError::new(Code::Validation, format!("retention_days: must be from 1 to {MAX_RETENTION}, or null")))
    }
}

fn max_bytes(bytes: Option<i64>) -> Result<Option<i64>, ApiError> {
    if bytes.is_none_or(|bytes| (0..=MAX_BYTES).contains(&bytes)) {
        Ok(bytes)
    } else {
        Err(ApiError::new(Code::Validation, format!("max_bytes: must be from 0 to {MAX_BYTES}, or null")))
    }
}

/// Who is to sign, when that is another one than now.
async fn signer(
    engine: &Engine,
    scope: &CacheScope<ManageCacheSettings>,
    body: &ChangeBody,
) -> Result<Option<NewSigner>, ApiError> {
    let names_a_key = body.public_key.is_some() || body.organization.is_some();
    let signer = match body.signing {
        Some(Signing::Worker) => Signing::Worker,
        Some(Signing::Server) if !names_a_key => Signing::Server,
        None if !names_a_key => return Ok(None),
        Some(Signing::Server) | None => {
            return Err(ApiError::new(
                Code::Validation,
                "`public_key` and `organization` are those of a worker's key: only with `signing: worker`",
            ));
        }
    };
    if !names_a_key && signer == Signing::from(scope.found.signer) {
        return Ok(None);
    }
    let decision = scope.found.access.decide(&scope.caller, CachePermission::ManageCacheKeys);
    ApiError::decided(decision, "cache", CachePermission::ManageCacheKeys.as_str())?;
    Ok(Some(match signer {
        Signing::Server => NewSigner::Server,
        Signing::Worker => {
            let (key, organization) = (body.public_key.clone(), body.organization.clone());
            NewSigner::Worker(of_worker(engine, &scope.caller, key, organization).await?.map(Box::new))
        }
    }))
}

/// Changes a cache.
///
/// What is left out stays as it is. A shorter retention and a smaller size take effect within minutes; `POST
/// /caches/{cache}/collect` with `dry_run` says beforehand what would go.
#[utoipa::path(patch, path = "/caches/{cache}")]
async fn change(
    scope: CacheScope<ManageCacheSettings>,
    body: Body<ChangeBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let body = body.read()?;
    let signer = signer(&engine, &scope, &body).await?;
    let changes = CacheChanges {
        name: optional(body.name.as_ref())?,
        display_name: optional(body.display_name.as_ref())?,
        description: body.description.map(description).transpose()?,
        priority: body.priority.map(priority).transpose()?,
        active: None,
        public: body.public,
        retention_days: body.retention_days.map(retention).transpose()?,
        max_bytes: body.max_bytes.map(max_bytes).transpose()?,
        pull_through: body.pull_through,
    };
    engine.change_cache_and_signer(&scope.found.cache, changes, signer).await?;
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
///
/// Of several keys, the newest. `/caches/{cache}/keys` has all of them.
#[utoipa::path(get, path = "/caches/{cache}/key")]
async fn key(scope: CacheScope<ViewCache>) -> Answer<String> {
    Answer(scope.found.public_key.to_string())
}

/// Shows the public key that the cache's signatures are checked with, like `/caches/{cache}/key`.
#[utoipa::path(get, path = "/caches/{cache}/public-key")]
async fn public_key(scope: CacheScope<ViewCache>) -> Answer<String> {
    Answer(scope.found.public_key.to_string())
}

/// What a cache has, and what was asked of it.
#[derive(Serialize, ToSchema)]
#[schema(as = CacheStatistics)]
struct StatisticsBody {
    /// Its paths.
    #[schema(example = 1200)]
    paths: u64,
    /// The size of its NARs as they are stored: compressed, and each once, however many of its paths have it.
    #[schema(example = 1_300_000_000_u64)]
    bytes_stored: u64,
    /// How much more that would be, were the NAR of each path stored for itself and not compressed.
    #[schema(example = 3_400_000_000_u64)]
    bytes_saved: u64,
    /// Narinfos that it was asked for and had.
    #[schema(example = 48_000)]
    hits: u64,
    /// Narinfos that it was asked for and did not have itself.
    #[schema(example = 5_000)]
    misses: u64,
    /// The bytes of NARs that it has sent, compressed as they are.
    #[schema(example = 52_000_000_000_u64)]
    bytes_served: u64,
}

/// Shows what a cache has, and what was asked of it.
///
/// What was asked is counted since the cache was made; a server that is killed forgets the last seconds of it.
#[utoipa::path(get, path = "/caches/{cache}/stats")]
async fn stats(scope: CacheScope<ViewCache>, engine: web::Data<Engine>) -> Result<Answer<StatisticsBody>, ApiError> {
    let statistics = engine.cache_statistics(scope.found.cache.id).await?;
    let CacheStatistics { paths, bytes_stored, bytes_saved, hits, misses, bytes_served } = statistics;
    Ok(Answer(StatisticsBody { paths, bytes_stored, bytes_saved, hits, misses, bytes_served }))
}
