//! Who may read a private cache: what was decided lately.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gradient_auth::{Caller, Decision, SecretHash};
use gradient_domain::{CacheId, Moment};

use super::ServedCache;
use crate::{Engine, EngineError};

/// How long the database may be ahead of memory, should something but this server's REST API change it.
const MAX_AGE: Duration = Duration::from_secs(30);

/// Credentials in memory, at most.
const MAX_READERS: u64 = 10_000;

/// Caches of which is remembered that somebody may read them, at most.
const MAX_CACHES: usize = 64;

/// Somebody whose credentials were good a moment ago.
#[derive(Debug)]
pub struct Reader {
    /// Who it is.
    pub caller: Caller,
    /// From when on the credentials are worth nothing.
    until: Option<Moment>,
    generation: u64,
    may_read: RwLock<Vec<CacheId>>,
}

impl Reader {
    /// Whether it is known that they may read the cache. If not, it may still be so.
    pub fn is_known_to_read(&self, cache: &ServedCache) -> bool {
        self.may_read.read().unwrap_or_else(PoisonError::into_inner).contains(&cache.id)
    }

    fn remember(&self, cache: CacheId) {
        let mut may_read = self.may_read.write().unwrap_or_else(PoisonError::into_inner);
        if may_read.len() < MAX_CACHES && !may_read.contains(&cache) {
            may_read.push(cache);
        }
    }
}

/// Remembers callers by their credentials' hash, for a short time, and until anybody's rights change.
pub(super) struct Readers {
    callers: moka::sync::Cache<[u8; 32], Arc<Reader>>,
    generation: AtomicU64,
}

impl Readers {
    pub(super) fn new() -> Self {
        let callers = moka::sync::Cache::builder().max_capacity(MAX_READERS).time_to_live(MAX_AGE).build();
        Self { callers, generation: AtomicU64::new(0) }
    }

    fn lookup(&self, credentials: &[u8; 32]) -> Option<Arc<Reader>> {
        let reader = self.callers.get(credentials)?;
        let is_good = reader.until.is_none_or(|until| Moment::now() < until);
        (is_good && reader.generation == self.generation.load(Ordering::SeqCst)).then_some(reader)
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}

impl Engine {
    /// Whom a bearer token or an API key proves, as far as memory knows it.
    pub fn remembered_reader(&self, bearer: &str) -> Option<Arc<Reader>> {
        self.substituter().readers.lookup(SecretHash::of(bearer.as_bytes()).as_bytes())
    }

    /// The same, with a look into the database. `Unauthorized` when it proves nobody.
    pub async fn reader(&self, bearer: &str) -> Result<Arc<Reader>, EngineError> {
        let readers = &self.substituter().readers;
        let credentials = *SecretHash::of(bearer.as_bytes()).as_bytes();
        if let Some(reader) = readers.lookup(&credentials) {
            return Ok(reader);
        }
        // What changes from here on makes the entry worthless.
        let generation = readers.generation.load(Ordering::SeqCst);
        let (caller, until) = self.caller_until(bearer).await?;
        let reader = Arc::new(Reader { caller, until, generation, may_read: RwLock::default() });
        readers.callers.insert(credentials, Arc::clone(&reader));
        Ok(reader)
    }

    /// Whether a reader may read a cache.
    pub async fn decide_reader(&self, cache: &ServedCache, reader: &Reader) -> Result<Decision, EngineError> {
        if reader.is_known_to_read(cache) {
            return Ok(Decision::Granted);
        }
        let decision = self.may_pull(cache, &reader.caller).await?;
        if decision == Decision::Granted {
            reader.remember(cache.id);
        }
        Ok(decision)
    }

    /// To be called when the rights of anybody may have changed, after the transaction: sessions, keys, members, roles,
    /// subscriptions. Otherwise readers keep theirs for half a minute.
    pub fn forget_readers(&self) {
        self.substituter().readers.generation.fetch_add(1, Ordering::SeqCst);
    }
}
