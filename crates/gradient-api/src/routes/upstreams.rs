//! `/caches/{cache}/upstreams`: where a cache looks for what it does not have.

use actix_web::web;
use gradient_auth::Caller;
use gradient_domain::{CacheId, CacheName, CachePermission, CacheUpstreamId, CacheUrl, DisplayName, Moment};
use gradient_engine::{Engine, UpstreamPlace, UpstreamUpdate, UpstreamView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::{optional, parse};
use crate::{
    ApiError,
    body::Body,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Sentence},
    error::Code,
    scope::{CacheScope, ManageCacheUpstreams, ViewCache},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Caches:
        list;
        add => AlreadyExists, Conflict, InvalidName, Validation;
        change => AlreadyExists, Conflict, InvalidName, Validation;
        remove;
    }
}

/// An upstream of a cache: a URL with its public key, or another cache of this server.
#[derive(Serialize, ToSchema)]
#[schema(as = CacheUpstream, title = "CacheUpstream")]
struct UpstreamBody {
    id: CacheUpstreamId,
    display_name: DisplayName,
    #[schema(example = "https://cache.nixos.org")]
    url: Option<String>,
    #[schema(example = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=")]
    public_key: Option<String>,
    /// The cache of this server that it is.
    cache: Option<CacheName>,
    created_at: Moment,
}

impl From<UpstreamView> for UpstreamBody {
    fn from(UpstreamView { upstream, cache }: UpstreamView) -> Self {
        Self {
            id: upstream.id,
            display_name: upstream.display_name,
            url: upstream.url,
            public_key: upstream.public_key,
            cache,
            created_at: upstream.created_at,
        }
    }
}

/// Lists the upstreams of a cache: where it looks for what it does not have.
///
/// One that is another cache of this server is shown to those who may see that cache, and to those who manage the upstreams.
#[utoipa::path(get, path = "/caches/{cache}/upstreams")]
async fn list(scope: CacheScope<ViewCache>, engine: web::Data<Engine>) -> Result<Answer<Vec<UpstreamBody>>, ApiError> {
    let upstreams = engine.upstreams(&scope.found, &scope.caller).await?;
    Ok(Answer(upstreams.into_iter().map(UpstreamBody::from).collect()))
}

/// What a new upstream is to be: a URL and its public key, or a cache of this server.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewCacheUpstream, examples(json!({"display_name": "NixOS", "url": "https://cache.nixos.org", "public_key": "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="})))]
struct AddBody {
    /// Without one, an upstream is called after its host or cache.
    #[schema(value_type = Option<DisplayName>)]
    display_name: Option<String>,
    /// Http or https, without credentials, query and fragment.
    #[schema(example = "https://cache.nixos.org")]
    url: Option<String>,
    /// What its answers have to be signed by.
    #[schema(example = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=")]
    public_key: Option<String>,
    /// A cache of this server that the caller may read.
    #[schema(value_type = Option<CacheName>)]
    cache: Option<String>,
}

/// Adds an upstream to a cache.
///
/// At most 16, none twice, and no cache looks into itself by way of others. A path that the cache does not have is then looked
/// for in all of them. What one elsewhere has counts when its key has signed it, and its NAR is fetched from there.
#[utoipa::path(put, path = "/caches/{cache}/upstreams")]
async fn add(
    scope: CacheScope<ManageCacheUpstreams>,
    body: Body<AddBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<CacheUpstreamId>, ApiError> {
    let AddBody { display_name, url, public_key, cache } = body.read()?;
    let (place, name) = match (url, public_key, cache) {
        (Some(url), Some(key), None) => {
            let url: CacheUrl = parse("url", &url)?;
            let name = url.host().replace(':', "-");
            (UpstreamPlace::Elsewhere(url, Box::new(parse("public_key", &key)?)), name)
        }
        (None, None, Some(cache)) => (UpstreamPlace::Cache(readable(&engine, &scope.caller, &cache).await?), cache),
        _ => return Err(ApiError::new(Code::Validation, "an upstream is either a `url` with its `public_key`, or a `cache`")),
    };
    let display_name = display_name.unwrap_or(name).parse()?;
    Ok(Answer(engine.add_upstream(&scope.found, display_name, place).await?))
}

/// What to change of an upstream. One that has a URL keeps having one.
#[derive(Deserialize, ToSchema)]
#[schema(as = CacheUpstreamChanges, examples(json!({"display_name": "NixOS"})))]
struct ChangeBody {
    #[schema(value_type = Option<DisplayName>)]
    display_name: Option<String>,
    #[schema(example = "https://cache.nixos.org")]
    url: Option<String>,
    #[schema(example = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=")]
    public_key: Option<String>,
    #[schema(value_type = Option<CacheName>)]
    cache: Option<String>,
}

/// Changes an upstream of a cache.
#[utoipa::path(patch, path = "/caches/{cache}/upstreams/{id}")]
async fn change(
    scope: CacheScope<ManageCacheUpstreams>,
    path: web::Path<(String, String)>,
    body: Body<ChangeBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let body = body.read()?;
    let update = UpstreamUpdate {
        display_name: optional(body.display_name.as_ref())?,
        url: body.url.map(|url| parse("url", &url)).transpose()?,
        public_key: body.public_key.map(|key| parse("public_key", &key)).transpose()?,
        cache: match body.cache {
            Some(cache) => Some(readable(&engine, &scope.caller, &cache).await?),
            None => None,
        },
    };
    engine.change_upstream(&scope.found, id(&path.1)?, update).await?;
    Ok(Answer(Sentence("the upstream is changed".to_owned())))
}

/// Removes an upstream of a cache.
#[utoipa::path(delete, path = "/caches/{cache}/upstreams/{id}")]
async fn remove(
    scope: CacheScope<ManageCacheUpstreams>,
    path: web::Path<(String, String)>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    engine.delete_upstream(&scope.found, id(&path.1)?).await?;
    Ok(Answer(Sentence("the upstream is removed".to_owned())))
}

fn id(text: &str) -> Result<CacheUpstreamId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("there is no such upstream"))
}

/// The cache of this name, for whoever may read it.
async fn readable(engine: &Engine, caller: &Caller, name: &str) -> Result<CacheId, ApiError> {
    let found = match name.parse() {
        Ok(name) => engine.find_cache(caller, name).await?,
        Err(_) => None,
    };
    let found = found.ok_or_else(|| ApiError::not_found("there is no such cache"))?;
    ApiError::decided(found.access.decide(caller, CachePermission::ReadStore), "cache", CachePermission::ReadStore.as_str())?;
    Ok(found.cache.id)
}
