//! Which paths a cache may have. A Bloom filter of each cache answers for hashes that nobody knows, so that they cost no query: of
//! what Nix asks a cache for, most is not there.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use fastbloom::BloomFilter;
use gradient_domain::CacheId;
use gradient_nix::StorePathHash;
use gradient_storage::{Conn, cache_paths};
use tokio::sync::Semaphore;

use crate::{Engine, EngineError};

/// How often a filter takes a hash for known that is not.
const FALSE_POSITIVES: f64 = 0.001;

/// Paths that a filter has room for, at least; it has room for twice as many as there are.
const MIN_ROOM: usize = 4096;

/// What all filters together may take, in bytes; about two for each path.
const MAX_BYTES: usize = 64 << 20;

/// Hashes that are read at a time.
const ROWS: i64 = 50_000;

/// Caches that are read at a time.
const READERS: usize = 2;

/// The filters of the caches that were asked for what they do not have.
#[derive(Debug)]
pub(super) struct Presences {
    all: RwLock<HashMap<CacheId, Presence>>,
    turns: Semaphore,
}

#[derive(Debug)]
enum Presence {
    /// The cache's paths are being read; these were published meanwhile.
    BeingRead(Vec<StorePathHash>),
    Read(Filter),
}

/// What a cache has, and a little more.
#[derive(Debug)]
struct Filter {
    hashes: BloomFilter,
    /// How many more keep it as exact as it is meant to be.
    room: usize,
}

/// What a filter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// The cache does not have it.
    Absent,
    /// Only the database knows.
    AskDatabase,
    /// There is no filter yet, and nobody makes one.
    NotRead,
}

impl Presences {
    pub(super) fn new() -> Self {
        Self { all: RwLock::default(), turns: Semaphore::new(READERS) }
    }

    pub(super) fn ask(&self, cache: CacheId, hash: StorePathHash) -> Says {
        match self.shared().get(&cache) {
            None => Says::NotRead,
            Some(Presence::Read(filter)) if !filter.hashes.contains(&hash) => Says::Absent,
            Some(_) => Says::AskDatabase,
        }
    }

    /// To be told after the transaction, and before anybody is told that the path is there.
    pub(super) fn published(&self, cache: CacheId, hashes: &[StorePathHash]) {
        let mut all = self.exclusive();
        match all.get_mut(&cache) {
            None => {}
            Some(Presence::BeingRead(meanwhile)) => meanwhile.extend(hashes),
            Some(Presence::Read(filter)) if filter.room < hashes.len() => {
                all.remove(&cache);
            }
            Some(Presence::Read(filter)) => filter.add(hashes),
        }
    }

    /// Whether it is the caller who has to read.
    fn begin(&self, cache: CacheId) -> bool {
        let mut all = self.exclusive();
        let is_new = !all.contains_key(&cache);
        if is_new {
            all.insert(cache, Presence::BeingRead(Vec::new()));
        }
        is_new
    }

    fn end(&self, cache: CacheId, read: Option<Filter>) {
        let mut all = self.exclusive();
        let Some(Presence::BeingRead(meanwhile)) = all.remove(&cache) else { return };
        let Some(mut filter) = read else { return };
        filter.add(&meanwhile);
        let taken: usize = all.values().map(Presence::bytes).sum();
        if taken + filter.bytes() > MAX_BYTES {
            // Those that are asked for are soon there again.
            all.retain(|_, presence| matches!(presence, Presence::BeingRead(_)));
        }
        all.insert(cache, Presence::Read(filter));
    }

    fn shared(&self) -> RwLockReadGuard<'_, HashMap<CacheId, Presence>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, HashMap<CacheId, Presence>> {
        self.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Presence {
    fn bytes(&self) -> usize {
        match self {
            Self::BeingRead(_) => 0,
            Self::Read(filter) => filter.bytes(),
        }
    }
}

impl Filter {
    /// For a cache that has so many paths by now.
    fn with_room_for(paths: usize) -> Self {
        let room = (2 * paths).max(MIN_ROOM);
        Self { hashes: BloomFilter::with_false_pos(FALSE_POSITIVES).expected_items(room), room }
    }

    fn add(&mut self, hashes: &[StorePathHash]) {
        for hash in hashes {
            self.hashes.insert(hash);
        }
        self.room = self.room.saturating_sub(hashes.len());
    }

    fn bytes(&self) -> usize {
        self.hashes.num_bits() / 8
    }
}

impl Engine {
    /// Makes the cache's filter in the background, unless somebody does so already.
    pub(super) fn read_presence(&self, cache: CacheId) {
        if !self.substituter().presences.begin(cache) {
            return;
        }
        let engine = self.clone();
        tokio::spawn(async move {
            let filter = engine.filter_of(cache).await.inspect_err(|error| {
                let error = error as &dyn std::error::Error;
                tracing::warn!(%cache, error, "cannot read what a cache has; every miss asks the database until it can be read");
            });
            engine.substituter().presences.end(cache, filter.ok());
        });
    }

    async fn filter_of(&self, cache: CacheId) -> Result<Filter, EngineError> {
        let _turn = self.substituter().presences.turns.acquire().await.map_err(|_| EngineError::Stopping)?;
        let paths = self.storage().read(async move |conn: &mut Conn| cache_paths::count(conn, cache).await).await?;
        let (mut filter, mut last) = (Filter::with_room_for(usize::try_from(paths).unwrap_or(0)), None);
        loop {
            let read = async move |conn: &mut Conn| cache_paths::hashes_after(conn, cache, last, ROWS).await;
            let page = self.storage().read(read).await?;
            if page.is_empty() {
                return Ok(filter);
            }
            filter.add(&page);
            last = page.last().copied();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u8) -> StorePathHash {
        StorePathHash::from_bytes([number; 20])
    }

    fn filter_of(hashes: &[StorePathHash]) -> Filter {
        let mut filter = Filter::with_room_for(hashes.len());
        filter.add(hashes);
        filter
    }

    #[test]
    fn what_is_published_is_never_absent() {
        let (presences, cache) = (Presences::new(), CacheId::new());
        assert_eq!(presences.ask(cache, hash(1)), Says::NotRead);
        assert!(presences.begin(cache));
        assert!(!presences.begin(cache), "one reads, not each who asks");
        assert_eq!(presences.ask(cache, hash(1)), Says::AskDatabase);
        presences.published(cache, &[hash(2)]);
        presences.end(cache, Some(filter_of(&[hash(1)])));
        presences.published(cache, &[hash(3)]);
        for there in 1..=3 {
            assert_eq!(presences.ask(cache, hash(there)), Says::AskDatabase);
        }
        let absent = (4..=255).filter(|number| presences.ask(cache, hash(*number)) == Says::Absent);
        assert!(absent.count() > 240);
        assert_eq!(presences.ask(CacheId::new(), hash(4)), Says::NotRead);
    }

    #[test]
    fn one_that_is_full_is_made_anew() {
        let (presences, cache) = (Presences::new(), CacheId::new());
        presences.begin(cache);
        presences.end(cache, Some(filter_of(&[])));
        for _ in 0..MIN_ROOM {
            presences.published(cache, &[hash(1)]);
        }
        assert_eq!(presences.ask(cache, hash(1)), Says::AskDatabase);
        presences.published(cache, &[hash(2)]);
        assert_eq!(presences.ask(cache, hash(2)), Says::NotRead);
    }

    #[test]
    fn what_could_not_be_read_is_read_again() {
        let (presences, cache) = (Presences::new(), CacheId::new());
        presences.begin(cache);
        presences.end(cache, None);
        assert_eq!(presences.ask(cache, hash(1)), Says::NotRead);
    }
}
