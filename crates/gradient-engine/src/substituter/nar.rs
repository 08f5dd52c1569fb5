//! NARs and their listings.

use std::{io::Read, ops::Range};

use gradient_blobs::{Blob, BlobKey};
use gradient_nix::{NarHash, StorePathHash};
use gradient_storage::cache_paths;

use super::ServedCache;
use crate::{Engine, EngineError};

/// How large a listing may be, compressed and as JSON; about a million files.
const MAX_LISTING: u64 = 128 << 20;

/// A NAR that a cache serves, as it is stored: compressed.
#[derive(Debug, Clone)]
pub struct CachedNar {
    /// The hash of the compressed NAR.
    pub file_hash: NarHash,
    /// The size of the compressed NAR in bytes.
    pub file_size: u64,
    key: BlobKey,
}

impl Engine {
    /// The NAR with this hash, when the cache has a path with it.
    pub async fn cached_nar(&self, cache: &ServedCache, nar_hash: NarHash) -> Result<Option<CachedNar>, EngineError> {
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
        Ok(size.map(|file_size| CachedNar { file_hash: row.file_hash, file_size, key }))
    }

    /// The bytes of a NAR, or those in a range that is within its size. `None` when it has gone meanwhile.
    pub async fn open_nar(&self, nar: &CachedNar, range: Option<Range<u64>>) -> Result<Option<Blob>, EngineError> {
        let blob = match range {
            Some(range) => self.blobs().get_range(&nar.key, range).await?,
            None => self.blobs().get(&nar.key).await?,
        };
        Ok(blob)
    }

    /// The listing of a path's NAR, as JSON, when the cache has the path.
    pub async fn cached_listing(&self, cache: &ServedCache, hash: StorePathHash) -> Result<Option<Vec<u8>>, EngineError> {
        let id = cache.id;
        let row = self
            .storage()
            .read(async move |conn: &mut gradient_storage::Conn| cache_paths::lookup_by_hash(conn, id, hash).await)
            .await?;
        match row {
            Some(row) => self.nar_listing(row.nar_hash).await,
            None => Ok(None),
        }
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
