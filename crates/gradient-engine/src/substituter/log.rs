//! The logs of what a cache serves, and of what it would serve had it not failed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use gradient_blobs::BlobKey;
use gradient_domain::{BuildId, CacheId, UploadedLogId};
use gradient_nix::StorePath;
use gradient_storage::{Conn, cache_logs, uploaded_logs};

use super::ServedCache;
use crate::{
    Engine, EngineError,
    artefacts::{self, Owner},
};

/// How long an uploaded log may wait for others to be sent.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Bytes read at a time.
const STEP: u64 = 256 << 10;

/// The log of a build that has ended.
pub struct CachedLog {
    /// How long it is, in bytes.
    pub size: u64,
    /// The bytes, in pieces of bounded size. It may break off with an error; it is complete when it has yielded `size` bytes.
    pub stream: BoxStream<'static, Result<Bytes, EngineError>>,
}

impl std::fmt::Debug for CachedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachedLog").field("size", &self.size).finish_non_exhaustive()
    }
}

enum Source {
    Build(BuildId),
    Uploaded(UploadedLogId, i64),
}

impl Engine {
    /// The log of a derivation, when an organization that publishes to the cache built it, and the cache has its output or it
    /// is an entry point that failed; or else the one that was uploaded.
    pub async fn cached_log(&self, cache: &ServedCache, derivation: StorePath) -> Result<Option<CachedLog>, EngineError> {
        let id = cache.id;
        let find = async move |conn: &mut Conn| {
            if let Some(build) = cache_logs::lookup_build(conn, id, &derivation).await? {
                return Ok(Some(Source::Build(build)));
            }
            let uploaded = uploaded_logs::lookup(conn, id, &derivation).await?;
            Ok(uploaded.map(|(log, size)| Source::Uploaded(log, size)))
        };
        match self.storage().read(find).await? {
            Some(Source::Build(build)) => self.build_log(build).await,
            Some(Source::Uploaded(log, size)) => self.uploaded_log(id, log, size).await,
            None => Ok(None),
        }
    }

    async fn uploaded_log(&self, cache: CacheId, log: UploadedLogId, size: i64) -> Result<Option<CachedLog>, EngineError> {
        let share = self.extracting().take(Owner::Cache(cache), MAX_WAIT).await?;
        let Some(stored) = self.blobs().get(&BlobKey::log(log.uuid(), 0)).await? else { return Ok(None) };
        let stream = artefacts::decompress(stored, share)?;
        Ok(Some(CachedLog { size: u64::try_from(size).unwrap_or_default(), stream }))
    }

    async fn build_log(&self, build: BuildId) -> Result<Option<CachedLog>, EngineError> {
        let Some(first) = self.log(build, None, 0, STEP).await? else { return Ok(None) };
        let reader = Reader { engine: self.clone(), build, offset: length(&first.bytes), size: first.total };
        let rest = stream::try_unfold(reader, async |mut reader: Reader| Ok(reader.next().await?.map(|bytes| (bytes, reader))));
        let stream = stream::iter([Ok(Bytes::from(first.bytes))]).chain(rest).boxed();
        Ok(Some(CachedLog { size: first.total, stream }))
    }
}

struct Reader {
    engine: Engine,
    build: BuildId,
    offset: u64,
    size: u64,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        let rest = self.size.saturating_sub(self.offset);
        if rest == 0 {
            return Ok(None);
        }
        let part = self.engine.log(self.build, None, self.offset, rest.min(STEP)).await?;
        let bytes = part.map(|part| part.bytes).unwrap_or_default();
        if bytes.is_empty() {
            return Err(EngineError::Damaged(format!("the log of build {} ends at byte {}", self.build, self.offset)));
        }
        self.offset += length(&bytes);
        Ok(Some(bytes.into()))
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
