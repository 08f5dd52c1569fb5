//! What is asked of caches: counted in memory, and written down every few seconds and when the server stops. A server that is killed
//! loses what came since the last time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use gradient_domain::{CacheId, Moment};
use gradient_nix::StorePathHash;
use gradient_storage::{
    Conn, cache_paths,
    cache_statistics::{self, Asked},
};

use crate::{Engine, EngineError, hidden::Hidden};

/// From one writing down to the next.
const EVERY: Duration = Duration::from_secs(5);

/// How exactly it is known when a path was fetched, in seconds: it is noted once in each such time, however often it is fetched.
const PERIOD: i64 = 3600;

/// Paths that wait to be written down, at most. Of those beyond it is not known that they were fetched until they are fetched again.
const MAX_WAITING: usize = 65_536;

/// Rows in one transaction.
const ROWS: usize = 500;

/// How long a cache may wait to be measured, and how many are measured at the same time.
const MAX_WAIT: Duration = Duration::from_secs(10);
pub(crate) const MEASURING: usize = 4;

/// What a cache has, and what was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Its paths.
    pub paths: u64,
    /// What the files of its NARs have, each counted once.
    pub bytes_stored: u64,
    /// How much more it would be, were each path's NAR stored for itself and not compressed.
    pub bytes_saved: u64,
    /// Narinfos that it had.
    pub hits: u64,
    /// Narinfos that it did not have itself.
    pub misses: u64,
    /// Bytes of NARs that were sent, as they are stored.
    pub bytes_served: u64,
}

/// What was asked of one cache and is not written down yet.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    bytes_served: AtomicU64,
}

impl Counters {
    pub(crate) fn hit(&self) {
        self.hits.fetch_add(1, Relaxed);
    }

    pub(crate) fn miss(&self) {
        self.misses.fetch_add(1, Relaxed);
    }

    pub(crate) fn served(&self, bytes: usize) {
        self.bytes_served.fetch_add(u64::try_from(bytes).unwrap_or(0), Relaxed);
    }

    fn asked(&self, read: fn(&AtomicU64) -> u64) -> Asked {
        let [hits, misses, bytes_served] =
            [&self.hits, &self.misses, &self.bytes_served].map(|counter| i64::try_from(read(counter)).unwrap_or(i64::MAX));
        Asked { hits, misses, bytes_served }
    }

    fn put_back(&self, asked: Asked) {
        let back = [(&self.hits, asked.hits), (&self.misses, asked.misses), (&self.bytes_served, asked.bytes_served)];
        for (counter, count) in back {
            counter.fetch_add(u64::try_from(count).unwrap_or(0), Relaxed);
        }
    }
}

/// The period in which a path that is kept in memory was last fetched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted(Arc<AtomicI64>);

/// What is not written down yet.
#[derive(Debug)]
pub(crate) struct Fetches {
    caches: Mutex<HashMap<CacheId, Arc<Counters>>>,
    paths: Mutex<HashSet<(CacheId, StorePathHash)>>,
    /// The running period: no request asks the clock.
    period: AtomicI64,
    /// Held while what is in memory goes into the database, so that nobody sees it in neither.
    writing: tokio::sync::Mutex<()>,
}

impl Fetches {
    pub(crate) fn new() -> Self {
        Self {
            caches: Mutex::default(),
            paths: Mutex::default(),
            period: AtomicI64::new(period(Moment::now())),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// Where what is asked of a cache is counted. To be asked for once, not with each request.
    pub(crate) fn counters(&self, cache: CacheId) -> Arc<Counters> {
        Arc::clone(locked(&self.caches).entry(cache).or_default())
    }

    /// Notes that a path was fetched which is kept in memory: nearly always a look at two numbers.
    pub(crate) fn note(&self, cache: CacheId, hash: StorePathHash, noted: &Noted) {
        let period = self.period.load(Relaxed);
        if noted.0.load(Relaxed) != period && self.note_rare(cache, hash) {
            noted.0.store(period, Relaxed);
        }
    }

    /// The same of one that is not. Whether there was room for it.
    pub(crate) fn note_rare(&self, cache: CacheId, hash: StorePathHash) -> bool {
        let mut paths = locked(&self.paths);
        let has_room = paths.len() < MAX_WAITING;
        if has_room {
            paths.insert((cache, hash));
        }
        has_room
    }

    /// What was asked of each cache, which counts from nothing again; caches that nobody holds are forgotten.
    fn take_counters(&self) -> Vec<(CacheId, Asked)> {
        let mut caches = locked(&self.caches);
        let taken = caches.iter().map(|(cache, counters)| (*cache, counters.asked(|counter| counter.swap(0, Relaxed))));
        let taken: Vec<_> = taken.filter(|(_, asked)| *asked != Asked::default()).collect();
        caches.retain(|_, counters| Arc::strong_count(counters) > 1);
        taken
    }
}

fn period(now: Moment) -> i64 {
    now.seconds().div_euclid(PERIOD)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes down until the engine is told to stop; what comes then is for whoever stops the server.
pub(crate) fn start(engine: Engine) {
    tokio::spawn(async move {
        let stopping = engine.clone();
        tokio::select! {
            () = stopping.stopped() => {}
            () = run(engine) => {}
        }
    });
}

async fn run(engine: Engine) {
    let mut hidden = Hidden::default();
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = engine.write_fetches().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot write down what was fetched; trying again soon");
        }
        if let Err(error) = hidden.look(&engine).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot see whether NARs were quarantined; trying again soon"
            );
        }
    }
}

impl Engine {
    /// Writes down what was asked of caches, and which paths were fetched.
    pub async fn write_fetches(&self) -> Result<(), EngineError> {
        let fetches = self.fetches();
        let _alone = fetches.writing.lock().await;
        let now = Moment::now();
        fetches.period.store(period(now), Relaxed);
        let counted = self.write_counters(fetches.take_counters()).await;
        let paths = mem::take(&mut *locked(&fetches.paths));
        let noted = self.write_paths(paths, now).await;
        counted.and(noted)
    }

    async fn write_counters(&self, taken: Vec<(CacheId, Asked)>) -> Result<(), EngineError> {
        let mut outcome = Ok(());
        for chunk in taken.chunks(ROWS) {
            let rows = chunk.to_vec();
            let add = async move |conn: &mut Conn| {
                for (cache, asked) in rows {
                    cache_statistics::add(conn, cache, asked).await?;
                }
                Ok(())
            };
            if let Err(error) = self.storage().transaction(add).await {
                for (cache, asked) in chunk {
                    self.fetches().counters(*cache).put_back(*asked);
                }
                outcome = Err(error.into());
            }
        }
        outcome
    }

    async fn write_paths(&self, taken: HashSet<(CacheId, StorePathHash)>, now: Moment) -> Result<(), EngineError> {
        let since = Moment::from_micros(period(now) * PERIOD * 1_000_000);
        let mut of_caches: BTreeMap<CacheId, Vec<StorePathHash>> = BTreeMap::new();
        for (cache, hash) in taken {
            of_caches.entry(cache).or_default().push(hash);
        }
        let mut outcome = Ok(());
        for (cache, hashes) in of_caches {
            for chunk in hashes.chunks(ROWS) {
                let rows = chunk.to_vec();
                let set = async move |conn: &mut Conn| cache_paths::set_fetched(conn, cache, &rows, since, now).await;
                if let Err(error) = self.storage().transaction(set).await {
                    locked(&self.fetches().paths).extend(chunk.iter().map(|hash| (cache, *hash)));
                    outcome = Err(error.into());
                }
            }
        }
        outcome
    }

    /// What a cache has, and what was asked of it so far. `Busy` when too many are being measured: it looks at all paths.
    pub async fn cache_statistics(&self, cache: CacheId) -> Result<CacheStatistics, EngineError> {
        let _share = self.measuring().take(cache, MAX_WAIT).await?;
        let read = async move |conn: &mut Conn| cache_statistics::holdings(conn, cache).await;
        let has = self.storage().read(read).await?;
        let (written, waiting) = {
            let _alone = self.fetches().writing.lock().await;
            let written = self.storage().read(async move |conn: &mut Conn| cache_statistics::asked(conn, cache).await).await?;
            let waiting =
                locked(&self.fetches().caches).get(&cache).map(|counters| counters.asked(|counter| counter.load(Relaxed)));
            (written, waiting.unwrap_or_default())
        };
        let sum = |written: i64, waiting: i64| u64::try_from(written.saturating_add(waiting)).unwrap_or(0);
        let positive = |count: i64| u64::try_from(count).unwrap_or(0);
        Ok(CacheStatistics {
            paths: positive(has.paths),
            bytes_stored: positive(has.file_bytes),
            bytes_saved: positive(has.nar_bytes.saturating_sub(has.file_bytes)),
            hits: sum(written.hits, waiting.hits),
            misses: sum(written.misses, waiting.misses),
            bytes_served: sum(written.bytes_served, waiting.bytes_served),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> StorePathHash {
        "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz".parse().unwrap()
    }

    #[test]
    fn a_path_is_noted_once_in_a_period() {
        let (fetches, cache, noted) = (Fetches::new(), CacheId::new(), Noted::default());
        let waiting = || mem::take(&mut *locked(&fetches.paths)).len();
        fetches.note(cache, hash(), &noted);
        assert_eq!(waiting(), 1);
        fetches.note(cache, hash(), &noted);
        assert_eq!(waiting(), 0);
        fetches.period.fetch_add(1, Relaxed);
        fetches.note(cache, hash(), &noted);
        assert_eq!(waiting(), 1);
    }

    #[test]
    fn what_finds_no_room_is_noted_with_the_next_fetch() {
        let (fetches, cache, noted) = (Fetches::new(), CacheId::new(), Noted::default());
        for _ in 0..MAX_WAITING {
            fetches.note_rare(CacheId::new(), hash());
        }
        fetches.note(cache, hash(), &noted);
        assert!(!locked(&fetches.paths).contains(&(cache, hash())));
        locked(&fetches.paths).clear();
        fetches.note(cache, hash(), &noted);
        assert!(locked(&fetches.paths).contains(&(cache, hash())));
    }

    #[test]
    fn caches_that_nobody_reads_are_forgotten() {
        let fetches = Fetches::new();
        let cache = CacheId::new();
        let counters = fetches.counters(cache);
        counters.hit();
        counters.served(7);
        assert_eq!(fetches.take_counters(), [(cache, Asked { hits: 1, misses: 0, bytes_served: 7 })]);
        assert_eq!(fetches.take_counters(), []);
        assert_eq!(locked(&fetches.caches).len(), 1);
        drop(counters);
        fetches.take_counters();
        assert_eq!(locked(&fetches.caches).len(), 0);
    }
}
