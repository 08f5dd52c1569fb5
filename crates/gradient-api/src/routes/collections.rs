//! `/caches/{cache}/collect`: what a cache does not keep goes.

use actix_web::web;
use gradient_auth::Decision;
use gradient_domain::{CachePermission, Moment};
use gradient_engine::{Collected, Engine, Superfluous};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ApiError,
    body::OptionalBody,
    endpoints::{Endpoints, endpoints},
    envelope::Answer,
    scope::{CacheScope, ManageCacheSettings},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Caches:
        collect => Unavailable;
    }
}

/// How to collect.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = Collect)]
struct CollectBody {
    /// Whether to say only what would go.
    #[serde(default)]
    dry_run: bool,
}

/// What went, or would go.
#[derive(Serialize, ToSchema)]
#[schema(as = Collected)]
struct CollectedBody {
    /// Whether nothing has gone yet.
    dry_run: bool,
    /// How many paths.
    #[schema(example = 120)]
    paths: u64,
    /// The size of the stored NARs that the cache then has no path with. Those that nobody else has are removed a day later.
    #[schema(example = 640_000_000)]
    bytes: u64,
    /// Twenty of the paths at most; none for those who may not read the cache.
    sample: Vec<SuperfluousBody>,
    /// How many paths stay.
    #[schema(example = 1080)]
    kept_paths: u64,
    /// The size of their NARs as they are stored.
    #[schema(example = 1_100_000_000)]
    kept_bytes: u64,
}

/// A path that goes.
#[derive(Serialize, ToSchema)]
#[schema(as = SuperfluousPath, title = "SuperfluousPath")]
struct SuperfluousBody {
    #[schema(example = "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-hello-2.12.1")]
    path: String,
    /// The size of its NAR as it is stored.
    #[schema(example = 53_000)]
    bytes: u64,
    /// When it was last fetched, to within an hour, or published, whichever is later.
    last_used_at: Moment,
}

impl From<Superfluous> for SuperfluousBody {
    fn from(Superfluous { path, bytes, last_used_at }: Superfluous) -> Self {
        Self { path: path.to_absolute(), bytes, last_used_at }
    }
}

/// Removes from a cache what its retention and its size do not keep.
///
/// What is pinned stays, and what evaluations that are still there have published, each with all that it refers to. The server
/// does the same by itself from time to time.
#[utoipa::path(post, path = "/caches/{cache}/collect")]
async fn collect(
    scope: CacheScope<ManageCacheSettings>,
    body: OptionalBody<CollectBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<CollectedBody>, ApiError> {
    let CollectBody { dry_run } = body.read()?.unwrap_or_default();
    let collected = engine.collect_cache(scope.found.cache.id, dry_run, Moment::now()).await?;
    let Collected { paths, bytes, sample, kept_paths, kept_bytes } = collected;
    let may_read = scope.found.access.decide(&scope.caller, CachePermission::ReadStore) == Decision::Granted;
    let sample = if may_read { sample.into_iter().map(SuperfluousBody::from).collect() } else { Vec::new() };
    Ok(Answer(CollectedBody { dry_run, paths, bytes, sample, kept_paths, kept_bytes }))
}
