use std::io::{self, Read as _, Write as _};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use gradient_blobs::{BlobKey, StagedFile};
use gradient_cache_protocol::content_encoding;
use gradient_domain::{Moment, UploadedLogId};
use gradient_nix::StorePath;
use gradient_storage::{Conn, uploaded_logs};

use super::Uploader;
use crate::{
    Engine, EngineError, ServedCache,
    uploads::{Incoming, incoming},
};

/// How well logs are compressed.
const LEVEL: i32 = 3;

/// How much is copied at once.
const BUFFER: usize = 64 << 10;

impl Engine {
    /// Keeps the log of a derivation that was built elsewhere; the one before goes. `body` ends, or breaks off with an error.
    pub async fn upload_log<E: std::fmt::Display>(
        &self,
        cache: &ServedCache,
        uploader: &Uploader,
        derivation: StorePath,
        encoding: &str,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<(), EngineError> {
        let _share = self.receiving().take(uploader.user, super::nar::MAX_WAIT).await?;
        let staged = self.blobs().staging().create().await?;
        let max = self.settings().max_log_bytes;
        let (chunks, from) = incoming(max);
        let encoding = encoding.to_owned();
        let writer = tokio::task::spawn_blocking(move || compress(from, &encoding, max, staged));
        let mut body = std::pin::pin!(body);
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| invalid(format!("it broke off: {error}")))?;
            if chunks.send(chunk).await.is_err() {
                break;
            }
        }
        drop(chunks);
        let (staged, size) = writer.await.map_err(|_| EngineError::Stopping)??;
        let (id, now) = (UploadedLogId::new(), Moment::now());
        self.blobs().put_staged(&BlobKey::log(id.uuid(), 0), staged).await?;
        let cache = cache.id;
        let keep = async move |conn: &mut Conn| uploaded_logs::set(conn, cache, &derivation, id, size, now).await;
        Ok(self.storage().transaction(keep).await?)
    }
}

fn invalid(message: String) -> EngineError {
    EngineError::Invalid { field: "log", message }
}

fn compress(from: Incoming, encoding: &str, max: u64, staged: StagedFile) -> Result<(StagedFile, i64), EngineError> {
    let unknown = || invalid(format!("the content encoding `{encoding}` is not taken: send br, gzip, xz, zstd or none"));
    let text = content_encoding::decode(from, encoding).ok_or_else(unknown)?;
    let mut encoder = zstd::Encoder::new(staged, LEVEL).map_err(EngineError::Compression)?;
    let mut text = text.take(max.saturating_add(1));
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let count = match text.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(invalid(format!("it cannot be read: {error}"))),
        };
        size += u64::try_from(count).unwrap_or(u64::MAX);
        if size > max {
            return Err(EngineError::TooLarge(format!("the log has more than {max} bytes")));
        }
        encoder.write_all(buffer.get(..count).unwrap_or_default()).map_err(EngineError::Spool)?;
    }
    let staged = encoder.finish().map_err(EngineError::Compression)?;
    Ok((staged, i64::try_from(size).unwrap_or(i64::MAX)))
}
