//! Uploads of NARs in pieces, for clients behind a proxy that cuts large bodies or long requests.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use gradient_blobs::{BlobError, Partial};
use gradient_cache_protocol::ingest::{self, NarFileName};
use gradient_domain::{ChunkedUploadId, Moment};
use gradient_storage::{
    Conn,
    chunked_uploads::{self, ChunkedUpload},
};
use tokio::io::AsyncWriteExt;

use super::{
    Uploader,
    nar::{self, MAX_WAIT},
};
use crate::{Engine, EngineError, ServedCache, uploads::max_compressed};

/// The size of a piece that most proxies let through, in bytes. Other sizes are taken too.
const CHUNK_BYTES: u64 = 32 << 20;

/// Uploads in pieces that one user may have on the way to one cache.
const MAX_BEGUN: i64 = 64;

/// How long an upload may take from its first piece to its last. What is not complete by then is removed.
pub(crate) const MAX_AGE: Duration = Duration::from_hours(24);

/// An upload that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkedUploadBegun {
    /// Its id.
    pub id: ChunkedUploadId,
    /// How large its pieces should be at most, in bytes.
    pub chunk_bytes: u64,
}

impl Engine {
    /// Begins an upload of a NAR in pieces.
    pub async fn begin_chunked(
        &self,
        cache: &ServedCache,
        uploader: &Uploader,
        name: NarFileName,
    ) -> Result<ChunkedUploadBegun, EngineError> {
        let (cache, uploader, id) = (cache.id, uploader.user, ChunkedUploadId::new());
        let row = ChunkedUpload { id, cache, uploader, name: name.to_string(), created_at: Moment::now() };
        let insert = async move |conn: &mut Conn| {
            if chunked_uploads::count(conn, cache, uploader).await? >= MAX_BEGUN {
                let message = format!("you have {MAX_BEGUN} uploads on the way to this cache; finish or delete some of them");
                return Err(EngineError::Conflict(message));
            }
            Ok(chunked_uploads::insert(conn, &row).await?)
        };
        // The row first: a file without one is removed.
        self.storage().try_transaction(insert).await?;
        self.blobs().partials().create(id.uuid()).await?;
        Ok(ChunkedUploadBegun { id, chunk_bytes: CHUNK_BYTES })
    }

    /// How many bytes of an upload have come.
    pub async fn chunked_offset(
        &self,
        cache: &ServedCache,
        uploader: &Uploader,
        id: ChunkedUploadId,
    ) -> Result<u64, EngineError> {
        self.chunked(cache, uploader, id).await?;
        self.blobs().partials().length(id.uuid()).await?.ok_or_else(|| unknown(id))
    }

    /// Takes the next piece, which has to begin where the last one ended; how many bytes have come then. What came of a piece that
    /// breaks off is kept.
    pub async fn write_chunk<E: std::fmt::Display>(
        &self,
        cache: &ServedCache,
        uploader: &Uploader,
        id: ChunkedUploadId,
        offset: u64,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64, EngineError> {
        self.chunked(cache, uploader, id).await?;
        let _share = self.receiving().take(uploader.user, MAX_WAIT).await?;
        let partial = self.partial(id).await?;
        let mut length = partial.length()?;
        if length != offset {
            return Err(EngineError::Conflict(format!("{length} bytes have come; go on with offset={length}")));
        }
        let max = max_compressed(self.settings().max_nar_bytes);
        let mut file = partial.to_async()?;
        let mut body = std::pin::pin!(body);
        let mut outcome = Ok(());
        while let Some(chunk) = body.next().await {
            let Ok(chunk) = chunk else {
                let message = format!("the piece broke off; ask with HEAD how much of upload {id} has come, and go on there");
                outcome = Err(EngineError::Invalid { field: "body", message });
                break;
            };
            length += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            if length > max {
                outcome = Err(EngineError::TooLarge(format!("a NAR has at most {} bytes", self.settings().max_nar_bytes)));
                break;
            }
            file.write_all(&chunk).await.map_err(EngineError::Spool)?;
        }
        file.flush().await.map_err(EngineError::Spool)?;
        outcome.map(|()| length)
    }

    /// Makes a NAR of the pieces, as if it had come at once.
    pub async fn finish_chunked(
        &self,
        cache: &ServedCache,
        uploader: &Uploader,
        id: ChunkedUploadId,
    ) -> Result<NarFileName, EngineError> {
        let row = self.chunked(cache, uploader, id).await?;
        let name: NarFileName = row.name.parse().map_err(|_| EngineError::Damaged(format!("the name of upload {id}")))?;
        let _share = self.receiving().take(uploader.user, MAX_WAIT).await?;
        let partial = self.partial(id).await?;
        let (reader, mut staged) = (partial.reader()?, self.blobs().staging().create().await?);
        let (named, max) = (name.clone(), self.settings().max_nar_bytes);
        let receive = move || ingest::receive(reader, &named, &mut staged, max).map(|received| (received, staged));
        let (received, staged) = tokio::task::spawn_blocking(receive).await.map_err(|_| EngineError::Stopping)??;
        nar::keep(self, cache.id, uploader.user, &name, received, staged).await?;
        self.delete_chunked(cache, uploader, id).await?;
        drop(partial);
        Ok(name)
    }

    /// Forgets an upload.
    pub async fn delete_chunked(&self, cache: &ServedCache, uploader: &Uploader, id: ChunkedUploadId) -> Result<(), EngineError> {
        self.chunked(cache, uploader, id).await?;
        self.storage().write(async move |conn: &mut Conn| chunked_uploads::delete(conn, id).await).await?;
        Ok(self.blobs().partials().remove(id.uuid()).await?)
    }

    async fn chunked(&self, cache: &ServedCache, uploader: &Uploader, id: ChunkedUploadId) -> Result<ChunkedUpload, EngineError> {
        let (cache, uploader) = (cache.id, uploader.user);
        let find = async move |conn: &mut Conn| chunked_uploads::lookup(conn, cache, uploader, id).await;
        self.storage().read(find).await?.ok_or_else(|| unknown(id))
    }

    async fn partial(&self, id: ChunkedUploadId) -> Result<Partial, EngineError> {
        match self.blobs().partials().open(id.uuid()).await {
            Ok(partial) => partial.ok_or_else(|| unknown(id)),
            Err(BlobError::InUse { .. }) => {
                Err(EngineError::Conflict(format!("another request is sending a piece of upload {id}, or finishing it")))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn unknown(id: ChunkedUploadId) -> EngineError {
    EngineError::NotFound { what: "upload", name: id.to_string() }
}
