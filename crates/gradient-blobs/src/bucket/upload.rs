//! Files on their way into a bucket.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{
    MultipartId,
    aws::AmazonS3,
    multipart::{MultipartStore, PartId},
    path::Path,
};

use super::{Bucket, PARTS_IN_MEMORY};
use crate::{
    BlobError, BlobKey, Put,
    directory::{at, blocking},
    key::OnConflict,
};

/// What is sent at a time; a file that has no more is sent at once. The server wants at least 5 MiB.
const PART: u64 = 8 << 20;

/// How many parts an upload may have.
const MAX_PARTS: u64 = 10_000;

pub(super) async fn put_file(bucket: &Bucket, key: &BlobKey, path: &FilePath) -> Result<Put, BlobError> {
    let file = LocalFile::open(path).await?;
    let _turn = bucket.turn(key).await;
    // Looking costs less than sending it in vain.
    if key.on_conflict() == OnConflict::Keep && (file.size > PART || !bucket.heeds_conditions()) && bucket.exists(key).await? {
        return Ok(Put::Existed);
    }
    if file.size <= PART {
        let _permit = bucket.0.parts.acquire().await;
        return bucket.put_at_once(key, file.read(0, file.size).await?).await;
    }
    let store = match key.on_conflict() {
        OnConflict::Keep if bucket.heeds_conditions() => &bucket.0.keeping,
        OnConflict::Keep | OnConflict::Replace => &bucket.0.replacing,
    };
    let put = in_parts(bucket, store, &bucket.location(key), &file).await;
    bucket.new_or_existed(key, put).await
}

/// Sends it part by part. When it fails, the server throws away what it has got.
async fn in_parts(bucket: &Bucket, store: &AmazonS3, location: &Path, file: &LocalFile) -> Result<(), BlobError> {
    let failed = |source| bucket.failed(location, source);
    let id = store.create_multipart(location).await.map_err(failed)?;
    let sent = async {
        let parts = send(bucket, store, location, &id, file).await?;
        store.complete_multipart(location, &id, parts).await.map(|_| ()).map_err(failed)
    };
    let sent = sent.await;
    if sent.is_err() {
        // What this cannot remove either, the bucket's own rule for incomplete uploads does.
        let _ = store.abort_multipart(location, &id).await;
    }
    sent
}

async fn send(
    bucket: &Bucket,
    store: &AmazonS3,
    location: &Path,
    id: &MultipartId,
    file: &LocalFile,
) -> Result<Vec<PartId>, BlobError> {
    let part_size = PART.max(file.size.div_ceil(MAX_PARTS));
    let offsets = (0..file.size).step_by(usize::try_from(part_size).unwrap_or(usize::MAX));
    let parts = offsets.enumerate().map(|(number, offset)| async move {
        // It is never closed.
        let _permit = bucket.0.parts.acquire().await;
        let part = file.read(offset, part_size.min(file.size - offset)).await?;
        store.put_part(location, id, number, part.into()).await.map_err(|source| bucket.failed(location, source))
    });
    stream::iter(parts).buffered(PARTS_IN_MEMORY).try_collect().await
}

struct LocalFile {
    file: Arc<File>,
    size: u64,
    path: PathBuf,
}

impl LocalFile {
    async fn open(path: &FilePath) -> Result<Self, BlobError> {
        let path = path.to_path_buf();
        blocking(path.clone(), move || {
            let file = at(&path, File::open(&path))?;
            let size = at(&path, file.metadata())?.len();
            Ok(Self { file: Arc::new(file), size, path })
        })
        .await
    }

    async fn read(&self, offset: u64, size: u64) -> Result<Bytes, BlobError> {
        let (file, path) = (self.file.clone(), self.path.clone());
        // Not on the thread that reads: there are many of those, and the allocator would keep some memory for each.
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        blocking(self.path.clone(), move || {
            at(&path, file.read_exact_at(&mut bytes, offset))?;
            Ok(bytes.into())
        })
        .await
    }
}
