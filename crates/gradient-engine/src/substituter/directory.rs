//! The caches that are being read, with their opened keys.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gradient_cache_protocol::Realisation;
use gradient_domain::{CacheId, CacheName};
use gradient_nix::SigningKey;
use gradient_storage::{
    cache_keys::{self, CacheKey},
    caches::{self, Cache, Upstream},
};

use super::upstream::{Elsewhere, Source};
use crate::{Engine, EngineError, fetches::Counters};

/// Caches in memory, at most.
const MAX_CACHES: u64 = 10_000;

/// How long the database may be ahead of memory, should something but this server change it.
const MAX_AGE: Duration = Duration::from_secs(30);

/// A cache that answers its readers.
#[derive(Debug)]
pub struct ServedCache {
    /// Its id.
    pub id: CacheId,
    /// Which cache Nix asks first: the lower, the earlier.
    pub priority: u32,
    /// Whether everybody may read it.
    pub public: bool,
    /// Sign what it serves; those of its keys that are kept here.
    pub(super) keys: Vec<SigningKey>,
    /// Whether workers hold others of its keys, whose signatures are in the database.
    pub(super) workers_sign: bool,
    /// Stands for all of its keys: what was rendered when it had others is rendered anew.
    pub(super) signed_by: u64,
    /// Where it looks for what it does not have.
    pub(super) upstreams: Vec<Source>,
    /// Whether it keeps what it finds there and somebody fetches.
    pub(super) pull_through: bool,
    /// Where what is asked of it is counted.
    pub(super) counters: Arc<Counters>,
}

impl ServedCache {
    /// Whether it looks anywhere else for what it does not have.
    pub const fn has_upstreams(&self) -> bool {
        !self.upstreams.is_empty()
    }

    /// Signs what an output turned out to be, with those of the cache's own keys that the server has.
    pub(crate) fn sign_realisation(&self, realisation: &mut Realisation) {
        for key in &self.keys {
            realisation.sign(key);
        }
    }
}

impl Engine {
    /// The cache of this name, as far as memory knows it.
    pub fn remembered_cache(&self, name: &CacheName) -> Option<Arc<ServedCache>> {
        self.substituter().directory.lookup(name)
    }

    /// The cache of this name, when it is active.
    pub async fn served_cache(&self, name: &CacheName) -> Result<Option<Arc<ServedCache>>, EngineError> {
        if let Some(cache) = self.remembered_cache(name) {
            return Ok(Some(cache));
        }
        let directory = &self.substituter().directory;
        let generation = directory.generation();
        let wanted = name.clone();
        let row = self
            .storage()
            .read(async move |conn: &mut gradient_storage::Conn| match caches::lookup_by_name(conn, &wanted).await? {
                Some(cache) if cache.active => {
                    let upstreams = caches::upstreams(conn, cache.id).await?;
                    let keys = cache_keys::active(conn, cache.id).await?;
                    Ok(Some((cache, upstreams, keys)))
                }
                Some(_) | None => Ok(None),
            })
            .await?;
        let Some((row, upstreams, keys)) = row else { return Ok(None) };
        let upstreams = upstreams.into_iter().filter_map(source).collect();
        let cache = Arc::new(self.serve(&row, upstreams, &keys)?);
        directory.insert(name.clone(), generation, cache.clone());
        Ok(Some(cache))
    }

    fn serve(&self, row: &Cache, upstreams: Vec<Source>, keys: &[CacheKey]) -> Result<ServedCache, EngineError> {
        let mut hasher = DefaultHasher::new();
        for key in keys {
            key.id.hash(&mut hasher);
        }
        let signed_by = hasher.finish();
        let workers_sign = keys.iter().any(|key| key.secret_key_sealed.is_none());
        let keys = keys.iter().filter_map(|key| self.open_cache_key(key).transpose()).collect::<Result<_, _>>()?;
        let priority = u32::try_from(row.priority).unwrap_or(0);
        let counters = self.fetches().counters(row.id);
        let (id, public, pull_through) = (row.id, row.public, row.pull_through);
        Ok(ServedCache { id, priority, public, keys, workers_sign, signed_by, upstreams, pull_through, counters })
    }
}

/// Where to look. What is stored was looked at when it came, so that it cannot be read is not expected.
fn source((upstream, cache): (Upstream, Option<CacheName>)) -> Option<Source> {
    let elsewhere = || Some(Elsewhere::new(upstream.url?.parse().ok()?, upstream.public_key?.parse().ok()?));
    cache.map(Source::Cache).or_else(|| elsewhere().map(|elsewhere| Source::Elsewhere(Box::new(elsewhere))))
}

/// Remembers caches by name, for a short time.
#[derive(Debug)]
pub(super) struct Directory {
    caches: moka::sync::Cache<CacheName, (u64, Arc<ServedCache>)>,
    generation: AtomicU64,
}

impl Directory {
    pub(super) fn new() -> Self {
        let caches = moka::sync::Cache::builder().max_capacity(MAX_CACHES).time_to_live(MAX_AGE).build();
        Self { caches, generation: AtomicU64::new(0) }
    }

    /// What has to be read before the database is: a change that comes in between makes the entry worthless.
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn lookup(&self, name: &CacheName) -> Option<Arc<ServedCache>> {
        let (generation, cache) = self.caches.get(name)?;
        (generation == self.generation()).then_some(cache)
    }

    fn insert(&self, name: CacheName, generation: u64, cache: Arc<ServedCache>) {
        self.caches.insert(name, (generation, cache));
    }

    /// Changes to caches are rare, so all are read again.
    pub(super) fn forget(&self, name: &CacheName) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.caches.invalidate(name);
    }
}
