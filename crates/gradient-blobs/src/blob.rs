use std::{fmt, ops::Range};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::GetResult;

use crate::{BlobError, BlobKey};

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
    /// What an object store answers.
    pub(crate) fn of(key: &BlobKey, result: GetResult) -> Self {
        let (size, range, key) = (result.meta.size, result.range.clone(), key.to_string());
        let stream = result.into_stream().map_err(move |source| BlobError::Store { key: key.clone(), source }).boxed();
        Self { size, range, stream }
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
