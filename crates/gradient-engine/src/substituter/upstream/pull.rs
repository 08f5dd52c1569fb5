//! Pulling through: what somebody fetches that a cache has from an upstream becomes the cache's own.
//!
//! A NAR is fetched once, however many ask for it. It is verified as an upload is, against what the upstream has signed, and goes
//! to a file, from which those who wait read behind it. Only what was found good is stored, published and signed; whoever has read
//! something else sees the answer break off before its end.

mod fetch;
mod progress;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use gradient_auth::Caller;
use gradient_cache_protocol::{PathInfo, declared::MAX_SIGNATURES};
use gradient_domain::CacheId;
use gradient_nix::{NarHash, StorePathHash};
use gradient_storage::{Conn, cache_paths, cache_paths::NewCachePath};
use tokio::sync::watch;

use self::progress::Progress;
use super::{Offer, Source, takes_over};
use crate::{CachedNar, Engine, EngineError, ServedCache, Share, Shares};

/// NARs that are fetched at the same time, for all caches together; and for each. One may need as much memory as the decompressor
/// of what was compressed hardest: 65 MiB with `xz -9`.
const PULLING: usize = 16;
const PULLING_EACH: usize = 4;

/// A path of a cache, with its content: another upstream may say that it has another one.
type Key = (CacheId, StorePathHash, NarHash);

/// What is being fetched.
#[derive(Debug)]
pub(super) struct Pulls {
    turns: Shares<CacheId>,
    running: Mutex<HashMap<Key, watch::Receiver<Progress>>>,
}

/// A NAR on its way through a cache, as it will be stored: compressed with zstd.
pub struct PulledNar {
    /// Its size, when all of it has come and was found good.
    pub size: Option<u64>,
    /// Its bytes. The stream breaks off with an error when it turns out not to be what it should be.
    pub stream: BoxStream<'static, Result<Bytes, EngineError>>,
}

impl std::fmt::Debug for PulledNar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PulledNar").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Pulls {
    pub(super) fn new() -> Self {
        Self { turns: Shares::new(PULLING, PULLING_EACH), running: Mutex::default() }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Progress>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch that others can join until this is dropped.
struct Running {
    engine: Engine,
    key: Key,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.engine.substituter().upstreams.pulls.running().remove(&self.key);
    }
}

impl Engine {
    /// The NAR of a path that the cache does not have, when an upstream elsewhere has the path with this NAR and the cache pulls. It
    /// is fetched, and becomes the cache's, also when nobody waits for it any more.
    pub async fn pull_nar(
        &self,
        cache: &Arc<ServedCache>,
        hash: StorePathHash,
        nar_hash: NarHash,
    ) -> Result<Option<PulledNar>, EngineError> {
        let Some(offer) = self.offer(cache, hash, nar_hash).await? else { return Ok(None) };
        let progress = self.join(cache, hash, offer);
        progress::follow(progress, Arc::clone(&cache.counters)).await
    }

    /// Whether [`pull_nar`](Self::pull_nar) would have something to fetch.
    pub async fn can_pull(&self, cache: &ServedCache, hash: StorePathHash, nar_hash: NarHash) -> Result<bool, EngineError> {
        Ok(self.offer(cache, hash, nar_hash).await?.is_some())
    }

    /// How many NARs are being fetched from upstreams.
    pub fn pulling(&self) -> usize {
        self.substituter().upstreams.pulls.running().len()
    }

    /// To be called when somebody fetches a NAR as that of a path: the path becomes the cache's own when its NAR is there already, as
    /// that of another path or in another cache of this server that everybody may read. In the background, and when there is no turn
    /// for it now, the next time.
    pub fn take_over(&self, cache: &Arc<ServedCache>, hash: StorePathHash, nar: &CachedNar, nar_hash: NarHash) {
        if !cache.pull_through || nar.is_of(cache.id, hash) {
            return;
        }
        let Ok(share) = self.substituter().upstreams.pulls.turns.try_take(cache.id, 1) else { return };
        let (engine, cache) = (self.clone(), Arc::clone(cache));
        tokio::spawn(async move {
            let stopping = engine.clone();
            tokio::select! {
                () = stopping.stopped() => {}
                taken = engine.take_over_now(&cache, hash, nar_hash, share) => {
                    if let Err(error) = taken {
                        tracing::warn!(cache = %cache.id, %hash, %error, "a path of an upstream cannot be taken over");
                    }
                }
            }
        });
    }

    async fn offer(&self, cache: &ServedCache, hash: StorePathHash, nar_hash: NarHash) -> Result<Option<Offer>, EngineError> {
        if !cache.pull_through {
            return Ok(None);
        }
        let offer = self.ask_elsewhere(cache, hash).await?;
        Ok(offer.filter(|offer| offer.path.info().nar_hash == nar_hash && self.pulls(cache, &offer.path)))
    }

    /// The fetch that is running for the path, or a new one.
    fn join(&self, cache: &Arc<ServedCache>, hash: StorePathHash, offer: Offer) -> watch::Receiver<Progress> {
        let key = (cache.id, hash, offer.path.info().nar_hash);
        match self.substituter().upstreams.pulls.running().entry(key) {
            Entry::Occupied(running) => running.get().clone(),
            Entry::Vacant(place) => {
                let (progress, follower) = watch::channel(Progress::default());
                place.insert(follower.clone());
                let running = Running { engine: self.clone(), key };
                tokio::spawn(fetch::run(running, Arc::clone(cache), offer, progress));
                follower
            }
        }
    }

    async fn take_over_now(
        &self,
        cache: &ServedCache,
        hash: StorePathHash,
        nar_hash: NarHash,
        _share: Share<CacheId>,
    ) -> Result<(), EngineError> {
        let id = cache.id;
        let (is_known, is_held) = self
            .storage()
            .read(async move |conn: &mut Conn| {
                let is_known = !cache_paths::known(conn, id, &[hash]).await?.is_empty();
                Ok((is_known, cache_paths::lookup_by_nar(conn, id, nar_hash).await?.is_some()))
            })
            .await?;
        if is_known {
            return Ok(());
        }
        for source in &cache.upstreams {
            let Source::Cache(name) = source else { continue };
            let Some(other) = self.served_cache(name).await?.filter(|other| takes_over(cache, other)) else { continue };
            if let Some(info) = self.path_info(&other, hash).await?.filter(|info| info.nar_hash == nar_hash) {
                return self.publish_held(cache, claim(info)).await;
            }
        }
        let Some(offer) = self.offer(cache, hash, nar_hash).await?.filter(|_| is_held) else { return Ok(()) };
        let info = offer.path.info();
        self.check_stored(&info.path, nar_hash, &info.references, info.content_address.as_ref()).await?;
        self.publish_held(cache, claim(info.clone())).await
    }

    async fn publish_held(&self, cache: &ServedCache, new: NewCachePath) -> Result<(), EngineError> {
        let elsewhere = self.servable_elsewhere(cache, &Caller::Anonymous, &new).await?;
        self.publish_checked(cache, new, elsewhere, None).await.map(drop)
    }
}

/// What the cache is to publish: as the upstream says, with its signatures.
fn claim(info: PathInfo) -> NewCachePath {
    let mut foreign_signatures = info.signatures;
    foreign_signatures.truncate(MAX_SIGNATURES);
    NewCachePath {
        path: info.path,
        nar_hash: info.nar_hash,
        references: info.references.into_iter().collect(),
        deriver: info.deriver,
        content_address: info.content_address.map(|address| address.to_nix_string()),
        foreign_signatures,
    }
}
