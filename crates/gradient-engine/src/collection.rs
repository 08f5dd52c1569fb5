//! Collecting: a cache loses what nobody fetches any more, and what it has too much of.
//!
//! All claims of the cache are read once, what has to stay is marked along the references, and the rest goes in small transactions,
//! a path always before what it refers to. So at every moment all that is left can be had with all that it needs. Each transaction
//! looks again, with everybody who publishes shut out: what was published, claimed again, fetched, pinned or referred to since the
//! mark stays, and so does what that refers to.

mod graph;
mod plan;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gradient_domain::{CacheId, Moment};
use gradient_nix::{StorePath, StorePathHash};
use gradient_storage::{Conn, StorageError, cache_pins, cache_retention, caches};
use tokio::sync::OwnedMutexGuard;

use crate::{Engine, EngineError};
use graph::{Graph, Loading};
use plan::{Plan, Rules};

/// Claims that are read at a time.
const PAGE: i64 = 2_000;

/// Claims that go in one transaction at most, unless they all refer to each other.
const ROWS: usize = 500;

/// Paths that are named of those that go.
const SAMPLE: usize = 20;

/// How much later than it says a claim may become visible. Longer than any transaction takes.
const MARGIN: Duration = Duration::from_hours(1);

/// How long a collection may wait for another one to end.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// From one collection that a cache does by itself to the next.
const EVERY: Duration = Duration::from_hours(1);

/// A path that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superfluous {
    /// The path.
    pub path: StorePath,
    /// The size of its NAR's file.
    pub bytes: u64,
    /// When it was last fetched, or else published.
    pub last_used_at: Moment,
}

/// What a collection has done, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Paths that go.
    pub paths: u64,
    /// The files of NARs that the cache then has no path with.
    pub bytes: u64,
    /// Some of them, those that go first.
    pub sample: Vec<Superfluous>,
    /// Paths that stay.
    pub kept_paths: u64,
    /// The files of their NARs, each counted once.
    pub kept_bytes: u64,
}

/// A collection after the mark: step by step, what is not marked goes. Only one is there at a time.
#[derive(Debug)]
pub struct Collection {
    engine: Engine,
    cache: CacheId,
    plan: Arc<Plan>,
    /// The components that stay after all.
    spared: Vec<bool>,
    /// How many of the plan's components were looked at.
    done: usize,
    rows: usize,
    removed: plan::Tally,
    /// When the mark began.
    began: Moment,
    _alone: OwnedMutexGuard<()>,
}

impl Engine {
    /// Marks what stays in a cache as of `now`. Nothing is removed yet.
    pub async fn begin_collection(&self, cache: CacheId, now: Moment) -> Result<Collection, EngineError> {
        let alone = tokio::time::timeout(MAX_WAIT, self.collecting().lock_owned()).await.map_err(|_| EngineError::Busy)?;
        // What was fetched just now counts.
        self.write_fetches().await?;
        let began = Moment::now();
        let found = self.storage().read(async move |conn: &mut Conn| caches::find(conn, cache).await).await?;
        let held = self.held_paths(cache).await?;
        let graph = self.load_graph(cache).await?;
        let days = found.retention_days.map(|days| Duration::from_hours(24 * u64::from(days.unsigned_abs())));
        let rules = Rules {
            unused_since: days.map(|days| now.minus(days)),
            max_bytes: found.max_bytes.map(|bytes| u64::try_from(bytes).unwrap_or(0)),
        };
        let plan = tokio::task::spawn_blocking(move || Plan::new(graph, &held, rules)).await;
        let plan = plan.map_err(|_| EngineError::Stopping)?;
        let spared = vec![false; plan.components()];
        let removed = plan.tally();
        Ok(Collection {
            engine: self.clone(),
            cache,
            plan: Arc::new(plan),
            spared,
            done: 0,
            rows: ROWS,
            removed,
            began,
            _alone: alone,
        })
    }

    /// What stays whatever its age is: pins, what evaluations that are still there have published, and what uploads that wait for
    /// something else refer to.
    async fn held_paths(&self, cache: CacheId) -> Result<Vec<StorePathHash>, EngineError> {
        let read = async move |conn: &mut Conn| {
            let mut held = cache_pins::hashes(conn, cache).await?;
            let ever = Moment::from_micros(0);
            held.extend(cache_retention::awaited_since(conn, cache, ever).await?.into_iter().flat_map(|references| references.0));
            for organization in cache_retention::publishers(conn, cache).await? {
                held.extend(cache_retention::kept_outputs(conn, organization).await?.into_iter().map(|output| output.0));
            }
            Ok(held)
        };
        Ok(self.storage().read(read).await?)
    }

    async fn load_graph(&self, cache: CacheId) -> Result<Graph, EngineError> {
        let mut loading = Loading::default();
        let mut after = None;
        loop {
            let page = async move |conn: &mut Conn| cache_retention::claims(conn, cache, after, PAGE).await;
            let page = self.storage().read(page).await?;
            let Some(last) = page.last() else { return Ok(loading.finish()) };
            after = Some(last.hash);
            for claim in page {
                loading.add(&claim);
            }
        }
    }

    /// Removes from a cache what its settings do not keep as of `now`, or, with `dry_run`, only says what that is. It goes on to its
    /// end when nobody waits for it. `Busy` when others do not end.
    pub async fn collect_cache(&self, cache: CacheId, dry_run: bool, now: Moment) -> Result<Collected, EngineError> {
        let mut collection = self.begin_collection(cache, now).await?;
        let found = collection.found().await?;
        if dry_run {
            return Ok(found);
        }
        let running = tokio::spawn(async move {
            while collection.step().await? {}
            Ok::<_, EngineError>(collection.collected(found.sample))
        });
        running.await.map_err(|_| EngineError::Stopping)?
    }
}

impl Collection {
    /// What goes, as long as nobody needs it meanwhile.
    pub async fn found(&self) -> Result<Collected, EngineError> {
        let first: Vec<_> = self.plan.doomed().take(SAMPLE).collect();
        let hashes: Vec<_> = first.iter().map(|node| node.hash).collect();
        let cache = self.cache;
        let named = async move |conn: &mut Conn| cache_retention::names(conn, cache, &hashes).await;
        let mut named = self.engine.storage().read(named).await?;
        let sample = first.iter().filter_map(|node| {
            let place = named.iter().position(|path| path.hash() == node.hash)?;
            let (path, bytes) = (named.swap_remove(place), self.plan.bytes_of(node));
            Some(Superfluous { path, bytes, last_used_at: node.last_used() })
        });
        let sample = sample.collect();
        let mut all = self.plan.tally();
        for node in self.plan.doomed() {
            all.remove(&self.plan, node);
        }
        Ok(Self::said(&all, sample))
    }

    /// What has gone so far.
    fn collected(&self, mut sample: Vec<Superfluous>) -> Collected {
        sample.retain(|gone| self.plan.component(gone.path.hash()).is_none_or(|component| !self.spares(component)));
        Self::said(&self.removed, sample)
    }

    fn said(tally: &plan::Tally, sample: Vec<Superfluous>) -> Collected {
        let plan::Tally { paths, bytes, kept_paths, kept_bytes, .. } = *tally;
        Collected { paths, bytes, sample, kept_paths, kept_bytes }
    }

    fn spares(&self, component: usize) -> bool {
        self.spared.get(component).copied().unwrap_or(true)
    }

    /// Lets fewer paths go in one transaction.
    #[must_use]
    pub fn in_steps_of(self, rows: usize) -> Self {
        Self { rows: rows.min(ROWS), ..self }
    }

    /// Removes the next paths, in one transaction. Whether there may be more.
    pub async fn step(&mut self) -> Result<bool, EngineError> {
        let batch = self.plan.batch(self.done, self.rows);
        if batch.is_empty() {
            return Ok(false);
        }
        // Whoever has asked for a path is about to fetch it.
        self.engine.write_fetches().await?;
        let began = Instant::now();
        let (plan, cache, spared) = (Arc::clone(&self.plan), self.cache, self.spared.clone());
        let (range, since) = (batch.clone(), self.began.minus(MARGIN));
        let remove = async move |conn: &mut Conn| remove(conn, cache, &plan, spared, range, since).await;
        let (spared, gone) = self.engine.storage().transaction(remove).await?;
        for hash in gone {
            self.engine.forget_published_path(cache, hash);
            if let Some(node) = self.plan.node(hash) {
                self.removed.remove(&self.plan, node);
            }
        }
        (self.spared, self.done) = (spared, batch.end);
        tokio::time::sleep(began.elapsed()).await;
        Ok(true)
    }
}

/// Removes those of some components that still nobody needs; which components stay after all, and the paths that have gone.
async fn remove(
    conn: &mut Conn,
    cache: CacheId,
    plan: &Plan,
    mut spared: Vec<bool>,
    batch: std::ops::Range<usize>,
    since: Moment,
) -> Result<(Vec<bool>, Vec<StorePathHash>), StorageError> {
    if !caches::lock(conn, cache).await? {
        return Ok((spared, Vec::new()));
    }
    let mut spare = |hash: StorePathHash| {
        let place = plan.component(hash).and_then(|component| spared.get_mut(component));
        if let Some(place) = place {
            *place = true;
        }
    };
    let candidates: Vec<StorePathHash> = plan.nodes_of(batch.clone()).map(|node| node.hash).collect();
    for (hash, claimed_at, last_fetched_at) in cache_retention::uses(conn, cache, &candidates).await? {
        if plan.node(hash).is_none_or(|node| node.is_used_anew(claimed_at, last_fetched_at)) {
            spare(hash);
        }
    }
    for hash in cache_pins::pinned(conn, cache, &candidates).await? {
        spare(hash);
    }
    // Whatever waits for one thing was told that the others are there.
    for references in cache_retention::awaited_since(conn, cache, since).await? {
        references.0.into_iter().for_each(&mut spare);
    }
    for (hash, claimed_at, references) in cache_retention::claimed_since(conn, cache, since).await? {
        if plan.node(hash).is_none_or(|node| node.claimed_at != claimed_at) {
            references.0.into_iter().for_each(&mut spare);
        }
    }
    let gone = plan.unneeded(batch, &mut spared);
    cache_retention::delete_claims(conn, cache, &gone).await?;
    Ok((spared, gone))
}

/// Collects the caches that do not keep everything, each from time to time.
pub(crate) async fn collect_due(engine: &Engine, now: Moment) -> Result<(), EngineError> {
    let limited = engine.storage().read(async |conn: &mut Conn| cache_retention::caches_with_limits(conn).await).await?;
    engine.collected().retain(|cache, last| limited.contains(cache) && now.since(*last) < EVERY);
    for cache in limited {
        if engine.collected().contains_key(&cache) {
            continue;
        }
        let collected = match engine.collect_cache(cache, false, now).await {
            Ok(collected) => collected,
            // Somebody lets another cache be collected; the next pass goes on.
            Err(EngineError::Busy) => return Ok(()),
            Err(error) => return Err(error),
        };
        engine.collected().insert(cache, now);
        if collected.paths > 0 {
            tracing::info!(%cache, paths = collected.paths, bytes = collected.bytes, "a cache has lost what it does not keep");
        }
    }
    Ok(())
}
