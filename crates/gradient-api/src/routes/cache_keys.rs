//! `/caches/{cache}/keys`: what a cache signs with.

use actix_web::web;
use gradient_domain::{CacheKeyId, Moment};
use gradient_engine::{CacheKey, Engine, Signer, public_key};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ApiError,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Sentence},
    scope::{CacheScope, ManageCacheKeys, ViewCache},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Caches:
        list;
        add => Conflict;
        retire => Conflict;
    }
}

/// Who has the secret of a key.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Signing {
    /// The server.
    Server,
    /// A worker, and never the server.
    Worker,
}

impl From<Signer> for Signing {
    fn from(signer: Signer) -> Self {
        match signer {
            Signer::Server => Self::Server,
            Signer::Worker => Self::Worker,
        }
    }
}

/// A key that a cache signs with.
#[derive(Serialize, ToSchema)]
#[schema(as = CacheKey, title = "CacheKey")]
struct KeyBody {
    id: CacheKeyId,
    /// What is in each of its signatures. No other key of the cache ever has this name.
    #[schema(example = "gradient.example.com-main.2")]
    name: String,
    /// As Nix takes it.
    #[schema(example = "gradient.example.com-main.2:1mUeXHAkR6T2NdsWkXqCdrnB0z6MGtQm3HBBwN0xdjk=")]
    public_key: String,
    /// Who has its secret, and makes its signatures.
    held_by: Signing,
    /// Whether it is the one that `/caches/{cache}/key` shows.
    primary: bool,
    created_at: Moment,
}

impl KeyBody {
    fn new(key: &CacheKey, primary: bool) -> Result<Self, ApiError> {
        Ok(Self {
            id: key.id,
            name: key.name.clone(),
            public_key: public_key(key)?.to_string(),
            held_by: Signer::of(key).into(),
            primary,
            created_at: key.created_at,
        })
    }
}

/// Lists the keys that a cache signs with, the newest first.
///
/// While there are several, everything carries a signature of each.
#[utoipa::path(get, path = "/caches/{cache}/keys")]
async fn list(scope: CacheScope<ViewCache>, engine: web::Data<Engine>) -> Result<Answer<Vec<KeyBody>>, ApiError> {
    let keys = engine.cache_keys(scope.found.cache.id).await?;
    let shown = keys.iter().enumerate().map(|(place, key)| KeyBody::new(key, place == 0));
    Ok(Answer(shown.collect::<Result<_, _>>()?))
}

/// Gives a cache a new key.
///
/// It signs everything that the cache has, beside the keys that the cache has already: clients that trust an older one go on.
/// At most four.
#[utoipa::path(post, path = "/caches/{cache}/keys")]
async fn add(scope: CacheScope<ManageCacheKeys>, engine: web::Data<Engine>) -> Result<Answer<KeyBody>, ApiError> {
    let key = engine.add_cache_key(&scope.found.cache).await?;
    Ok(Answer(KeyBody::new(&key, true)?))
}

/// Retires a key of a cache.
///
/// Nothing carries its signature any more, so clients that trust no other key take nothing more from the cache. Its secret is
/// gone, and its name stays taken. The last key stays.
#[utoipa::path(delete, path = "/caches/{cache}/keys/{id}")]
async fn retire(
    scope: CacheScope<ManageCacheKeys>,
    path: web::Path<(String, String)>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let id = path.1.parse().map_err(|_| ApiError::not_found("there is no such key"))?;
    engine.retire_cache_key(&scope.found.cache, id).await?;
    Ok(Answer(Sentence("the key is retired: nothing is signed with it any more".to_owned())))
}
