//! NARs and their listings.

use std::{io::Read, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use gradient_blobs::{Blob, BlobError, BlobKey, PresignedUrl};
use gradient_domain::CacheId;
use gradient_nix::{NarHash, StorePathHash};
use gradient_storage::cache_paths;

use super::{ServedCache, narinfo::Began};
use crate::{
    Engine, EngineError, Share, artefacts,
    fetches::{Counters, Noted},
};

/// How long a listing may wait for others to be sent.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// How large a listing that is read as a whole may be, compressed and as JSON; about a million files.
const MAX_LISTING: u64 = 128 << 20;

/// NARs in memory, at most: where they are, not what they are.
const MAX_NARS: u64 = 20_000;

/// The NARs that were asked for lately, by cache and hash. They are looked up again whenever anything was forgotten since.
pub(super) type Nars = moka::sync::Cache<(CacheId, NarHash), (Began, CachedNar)>;

pub(super) fn no_nars() -> Nars {
    moka::sync::Cache::new(MAX_NARS)
}

/// A NAR that a cache serves, as it is stored: compressed.
#[derive(Debug, Clone)]
pub struct CachedNar {
    /// The hash of the compressed NAR.
    pub file_hash: NarHash,
    /// The size of the compressed NAR in bytes.
    pub file_size: u64,
    key: BlobKey,
    /// The cache that has it, and one of its paths that does.
    claim: (CacheId, StorePathHash),
    noted: Noted,
    counters: Arc<Counters>,
}

/// A listing that a cache serves. It is sent without being in memory; while it lives, it counts as one that is being sent.
#[derive(Debug)]
pub struct CachedListing {
    stored: Blob,
    share: Share<CacheId>,
}

impl CachedNar {
    /// Whether it is this path's, as far as it is known.
    pub(super) fn is_of(&self, cache: CacheId, hash: StorePathHash) -> bool {
        self.claim == (cache, hash)
    }
}

impl CachedListing {
    /// The size in bytes, compressed.
    pub const fn compressed_size(&self) -> u64 {
        self.stored.size
    }

    /// The JSON as it is stored, compressed with zstd.
    pub fn compressed(self) -> BoxStream<'static, Result<Bytes, EngineError>> {
        let Self { stored, share } = self;
        let piece = move |piece: Result<Bytes, BlobError>| {
            // It is held until the stream is dropped.
            let _held = &share;
            piece.map_err(EngineError::from)
        };
        stored.stream.map(piece).boxed()
    }

    /// The JSON. The stream may break off with an error.
    pub fn json(self) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        artefacts::decompress(self.stored, self.share)
    }
}

impl Engine {
    /// The NAR with this hash, when memory knows that the cache has a path with it.
    pub fn remembered_nar(&self, cache: &ServedCache, nar_hash: NarHash) -> Option<CachedNar> {
        let (began, nar) = self.substituter().nars.get(&(cache.id, nar_hash))?;
        self.substituter().index.is_current(began).then_some(nar)
    }

    /// The NAR with this hash, when the cache has a path with it.
    pub async fn cached_nar(&self, cache: &ServedCache, nar_hash: NarHash) -> Result<Option<CachedNar>, EngineError> {
        if let Some(nar) = self.remembered_nar(cache, nar_hash) {
            return Ok(Some(nar));
        }
        let (index, nars) = (&self.substituter().index, &self.substituter().nars);
        let began = index.begin();
        let nar = self.look_up_nar(cache, nar_hash).await?;
        if let Some(nar) = &nar {
            nars.insert((cache.id, nar_hash), (began, nar.clone()));
        }
        Ok(nar)
    }

    async fn look_up_nar(&self, cache: &ServedCache, nar_hash: NarHash) -> Result<Option<CachedNar>, EngineError> {
        let id = cache.id;
        let row = self
            .storage()
            .read(async move |conn: &mut gradient_storage::Conn| cache_paths::lookup_by_nar(conn, id, nar_hash).await)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let key = BlobKey::nar(&nar_hash);
        let size = self.blobs().size(&key).await?;
        if size.is_none() {
            tracing::error!(%key, "the store has lost a NAR that a cache serves");
        }
        let (claim, counters) = ((id, row.path.hash()), Arc::clone(&cache.counters));
        Ok(size.map(|file_size| CachedNar { file_hash: row.file_hash, file_size, key, claim, noted: Noted::default(), counters }))
    }

    /// The bytes of a NAR, or those in a range that is within its size. `None` when it has gone meanwhile. What is read of it is
    /// counted as served.
    pub async fn open_nar(&self, nar: &CachedNar, range: Option<Range<u64>>) -> Result<Option<Blob>, EngineError> {
        let blob = match range {
            Some(range) => self.blobs().get_range(&nar.key, range).await?,
            None => self.blobs().get(&nar.key).await?,
        };
        Ok(blob.map(|blob| self.counted(nar, blob)))
    }

    /// The bytes of a NAR, when its file can be opened without waiting.
    pub fn open_nar_in_place(&self, nar: &CachedNar) -> Option<Blob> {
        self.blobs().get_in_place(&nar.key).map(|blob| self.counted(nar, blob))
    }

    fn counted(&self, nar: &CachedNar, blob: Blob) -> Blob {
        let (cache, hash) = nar.claim;
        self.fetches().note(cache, hash, &nar.noted);
        let counters = Arc::clone(&nar.counters);
        Blob { stream: blob.stream.inspect_ok(move |chunk| counters.served(chunk.len())).boxed(), ..blob }
    }

    /// Where a client can read the NAR itself for some minutes, when the store is set to let clients do so.
    pub async fn presigned_nar(&self, nar: &CachedNar) -> Result<Option<PresignedUrl>, EngineError> {
        let url = self.blobs().presigned(&nar.key).await?;
        if url.is_some() {
            // How much of it the client reads there, nobody tells.
            nar.counters.served(usize::try_from(nar.file_size).unwrap_or(usize::MAX));
            let (cache, hash) = nar.claim;
            self.fetches().note_rare(cache, hash);
        }
        Ok(url)
    }

    /// The listing of a path's NAR, when the cache has the path. `Busy` when too many of the cache are being sent.
    pub async fn cached_listing(&self, cache: &ServedCache, hash: StorePathHash) -> Result<Option<CachedListing>, EngineError> {
        let id = cache.id;
        let share = self.listing().take(id, MAX_WAIT).await?;
        let row = self
            .storage()
            .read(async move |conn: &mut gradient_storage::Conn| cache_paths::lookup_by_hash(conn, id, hash).await)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let stored = self.blobs().get(&BlobKey::listing(&row.nar_hash)).await?;
        Ok(stored.map(|stored| CachedListing { stored, share }))
    }

    /// The listing of a stored NAR, as JSON.
    pub(crate) async fn nar_listing(&self, nar_hash: NarHash) -> Result<Option<Vec<u8>>, EngineError> {
        let compressed = self.blobs().read_all(&BlobKey::listing(&nar_hash), MAX_LISTING).await?;
        let Some(compressed) = compressed else { return Ok(None) };
        let json = tokio::task::spawn_blocking(move || decompress(&compressed)).await.map_err(|_| EngineError::Stopping)?;
        json.map(Some).map_err(EngineError::Compression)
    }
}

fn decompress(compressed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut json = Vec::new();
    zstd::Decoder::new(compressed)?.take(MAX_LISTING + 1).read_to_end(&mut json)?;
    if u64::try_from(json.len()).is_ok_and(|size| size <= MAX_LISTING) {
        Ok(json)
    } else {
        Err(std::io::Error::other("the listing is too large"))
    }
}
