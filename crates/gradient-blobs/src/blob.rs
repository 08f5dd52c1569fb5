use std::{fmt, io::SeekFrom, ops::Range};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{GetResult, GetResultPayload};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::{BlobError, BlobKey};

/// How much of a file is in memory while it is read. `object_store` itself would read 8 KiB per blocking task.
const CHUNK: usize = 256 * 1024;

/// A blob that is being read, or a part of it.
pub struct Blob {
    /// The size of the whole blob in bytes.
    pub size: u64,
    /// The bytes that the stream yields.
    pub range: Range<u64>,
    /// The bytes, in pieces of bounded size. It may break off with an error; it is complete when it has yielded `range`.
    pub stream: BoxStream<'static, Result<Bytes, BlobError>>,
}

impl Blob {
    pub(crate) async fn open(key: &BlobKey, result: GetResult) -> Result<Self, BlobError> {
        let (size, range) = (result.meta.size, result.range.clone());
        let key = key.to_string();
        let stream = match result.payload {
            GetResultPayload::File(file, path) => {
                let mut file = tokio::fs::File::from_std(file);
                if range.start > 0 {
                    file.seek(SeekFrom::Start(range.start)).await.map_err(|source| BlobError::Io { path, source })?;
                }
                ReaderStream::with_capacity(file.take(range.end - range.start), CHUNK)
                    .map_err(move |source| BlobError::Read { key: key.clone(), source })
                    .boxed()
            }
            GetResultPayload::Stream(stream) => {
                stream.map_err(move |source| BlobError::Store { key: key.clone(), source }).boxed()
            }
        };
        Ok(Self { size, range, stream })
    }

    /// Everything at once; `capacity` is what it has in bytes.
    pub(crate) async fn collect(mut self, capacity: usize) -> Result<Bytes, BlobError> {
        let mut all = Vec::with_capacity(capacity);
        while let Some(chunk) = self.stream.try_next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.into())
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("size", &self.size).field("range", &self.range).finish_non_exhaustive()
    }
}
