//! `/caches/{cache}/pins`: what a cache keeps, whatever its retention is.

use actix_web::web;
use gradient_domain::{Moment, Username};
use gradient_engine::{Engine, PinView};
use gradient_nix::StorePathHash;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::{PageQuery, parse};
use crate::{
    ApiError,
    body::Body,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Page, Sentence},
    scope::{CacheScope, ReadStore, WriteStore},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Caches:
        list;
        pin => AlreadyExists, Validation;
        unpin;
    }
}

/// A path that a cache keeps, with all that it refers to.
#[derive(Serialize, ToSchema)]
#[schema(as = CachePin, title = "CachePin")]
struct PinBody {
    #[schema(example = "00bgd045z0d4icpbc2yyz4gx48ak44la")]
    hash: String,
    /// The path; none when the cache has lost it all the same, by a fault of its disk.
    #[schema(example = "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-hello-2.12.1")]
    path: Option<String>,
    created_by: Option<Username>,
    created_at: Moment,
}

impl From<PinView> for PinBody {
    fn from(PinView { hash, path, created_by, created_at }: PinView) -> Self {
        Self { hash: hash.to_string(), path: path.map(|path| path.to_absolute()), created_by, created_at }
    }
}

/// Lists what is pinned in a cache, by hash.
#[utoipa::path(get, path = "/caches/{cache}/pins")]
async fn list(
    scope: CacheScope<ReadStore>,
    query: web::Query<PageQuery>,
    engine: web::Data<Engine>,
) -> Result<Answer<Page<PinBody>>, ApiError> {
    let window = query.window()?;
    let (items, total) = engine.cache_pins(scope.found.cache.id, window.limit, window.offset).await?;
    Ok(Answer(window.of(items.into_iter().map(PinBody::from).collect(), total)))
}

/// What to pin.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewCachePin)]
struct NewPinBody {
    /// The first 32 characters of the name of a path that the cache has.
    #[schema(pattern = "^[0-9abcdfghijklmnpqrsvwxyz]{32}$", example = "00bgd045z0d4icpbc2yyz4gx48ak44la")]
    hash: String,
}

/// Pins a path: the cache keeps it, with all that it refers to, until it is unpinned.
#[utoipa::path(post, path = "/caches/{cache}/pins")]
async fn pin(
    scope: CacheScope<WriteStore>,
    body: Body<NewPinBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<PinBody>, ApiError> {
    let hash: StorePathHash = parse("hash", &body.read()?.hash)?;
    let user = scope.caller.user().ok_or_else(ApiError::unauthorized)?.user;
    Ok(Answer(engine.pin_path(scope.found.cache.id, hash, user).await?.into()))
}

/// Unpins a path.
#[utoipa::path(delete, path = "/caches/{cache}/pins/{hash}")]
async fn unpin(
    scope: CacheScope<WriteStore>,
    path: web::Path<(String, String)>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let hash = path.1.parse().map_err(|_| ApiError::not_found("there is no such pin"))?;
    engine.unpin_path(scope.found.cache.id, hash).await?;
    Ok(Answer(Sentence("the path is not pinned any more".to_owned())))
}
