//! NARs, their listings and the logs of builds, as named byte streams in a directory, or in a bucket of an S3-compatible server.
//!
//! A blob appears under its key complete and durable, or not at all: in a directory it is written beside the others, flushed to the
//! disk, and then given its name; in a bucket it is put at once, or completed when all of its parts are there. NARs and listings are
//! named by the hash of the NAR, so the first one stays; a log replaces the one before. Reading and writing need constant memory,
//! whatever the size. Keys are the same in both, so that one becomes the other by copying.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use gradient_blobs::{BlobKey, Blobs, Put};
//! use gradient_nix::NarHash;
//! use std::io::Write;
//!
//! let directory = tempfile::tempdir()?;
//! let blobs = Blobs::open_directory(directory.path())?;
//! let key = BlobKey::nar(&NarHash([0; 32]));
//!
//! let mut upload = blobs.staging().create().await?;
//! upload.write_all(b"compressed")?;
//! assert_eq!(blobs.put_staged(&key, upload).await?, Put::New);
//!
//! assert_eq!(blobs.size(&key).await?, Some(10));
//! assert_eq!(blobs.read_all(&key, 1024).await?.as_deref(), Some(&b"compressed"[..]));
//! # Ok(())
//! # }
//! ```

mod blob;
mod bucket;
mod directory;
mod error;
mod key;
mod partial;
mod staging;
mod upkeep;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path as Location};

pub use blob::Blob;
pub use bucket::{BucketProblem, PresignedUrl, S3Settings};
pub use error::BlobError;
pub use key::BlobKey;
pub use partial::{Partial, Partials};
pub use staging::{StagedFile, StagedReader, Staging};
pub use upkeep::StoredBlob;

use bucket::Bucket;
use directory::{Directory, blocking};

/// Larger than any blob. Not every server takes larger numbers in a range.
const LARGEST: u64 = 1 << 62;

/// The store of blobs. Clones share it.
#[derive(Debug, Clone)]
pub struct Blobs {
    /// What is read from.
    store: Arc<dyn ObjectStore>,
    place: Place,
    staging: Staging,
    partials: Partials,
}

/// What is written to.
#[derive(Debug, Clone)]
enum Place {
    Directory(Directory),
    Bucket(Bucket),
}

/// What became of a blob that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is stored now.
    New,
    /// There was one under this key already, and it was left as it is. The same NAR may have been compressed differently, so its
    /// [`size`](Blobs::size) may differ from what was put.
    Existed,
}

impl Blobs {
    /// Opens the store in a directory, which is made when it is missing, and removes what earlier processes left in staging.
    pub fn open_directory(path: impl AsRef<Path>) -> Result<Self, BlobError> {
        let directory = Directory::open(path.as_ref())?;
        let staging = Staging::open(directory.join("staging"))?;
        let partials = Partials::open_in(directory.join("partial"));
        let store = LocalFileSystem::new_with_prefix(path.as_ref())
            .map_err(|source| BlobError::Store { key: path.as_ref().display().to_string(), source })?
            .with_automatic_cleanup(true);
        Ok(Self { store: Arc::new(store), place: Place::Directory(directory), staging, partials })
    }

    /// Opens the store in a bucket, which has to be there; uploads are in a directory of this machine until they are verified. An
    /// error when the bucket does not answer, or may not be read and written.
    pub async fn open_s3(settings: S3Settings, uploads: impl AsRef<Path>) -> Result<Self, BlobError> {
        let (staging, partial) = (uploads.as_ref().join("staging"), uploads.as_ref().join("partial"));
        directory::make_directory(&staging)?;
        directory::make_directory(&partial)?;
        let staging = Staging::open(staging)?;
        let bucket = Bucket::open(settings).await?;
        let partials = Partials::open_in(partial);
        Ok(Self { store: bucket.store(), place: Place::Bucket(bucket), staging, partials })
    }

    /// Whether the store itself refuses to replace a blob. There are servers of buckets that do not: with them, only the writers
    /// of one process are kept from replacing each other's blobs.
    pub fn refuses_to_replace(&self) -> bool {
        match &self.place {
            Place::Directory(_) => true,
            Place::Bucket(bucket) => bucket.heeds_conditions(),
        }
    }

    /// Where uploads are while they are being verified.
    pub const fn staging(&self) -> &Staging {
        &self.staging
    }

    /// Where uploads are that come in pieces.
    pub const fn partials(&self) -> &Partials {
        &self.partials
    }

    /// Stores bytes.
    pub async fn put(&self, key: &BlobKey, bytes: Bytes) -> Result<Put, BlobError> {
        let directory = match &self.place {
            Place::Directory(directory) => directory.clone(),
            Place::Bucket(bucket) => return bucket.put(key, bytes).await,
        };
        let (staging, key) = (self.staging.clone(), key.clone());
        blocking(directory.root(), move || {
            let mut staged = staging.create_now()?;
            staged.write_bytes(&bytes)?;
            directory.publish(staged.path(), &key)
        })
        .await
    }

    /// Moves a verified upload in. It goes on when the caller does not wait for it.
    pub async fn put_staged(&self, key: &BlobKey, staged: StagedFile) -> Result<Put, BlobError> {
        let (key, path) = (key.clone(), staged.path().to_owned());
        match self.place.clone() {
            Place::Directory(directory) => blocking(path, move || directory.publish(staged.path(), &key)).await,
            Place::Bucket(bucket) => to_its_end(path, async move { bucket.put_file(&key, staged.path()).await }).await,
        }
    }

    /// Moves a local file in, whichever file system it is on. The file is gone afterwards, also when the blob existed.
    pub async fn put_file(&self, key: &BlobKey, path: impl Into<PathBuf>) -> Result<Put, BlobError> {
        let (staging, key, path) = (self.staging.clone(), key.clone(), path.into());
        match self.place.clone() {
            Place::Directory(directory) => {
                blocking(directory.root(), move || {
                    let put = if directory.is_on_same_device(&path)? {
                        directory.publish(&path, &key)?
                    } else {
                        let mut staged = staging.create_now()?;
                        staged.copy_from(&path)?;
                        directory.publish(staged.path(), &key)?
                    };
                    directory::remove(&path)?;
                    Ok(put)
                })
                .await
            }
            Place::Bucket(bucket) => {
                to_its_end(path.clone(), async move {
                    let put = bucket.put_file(&key, &path).await?;
                    blocking(path.clone(), move || directory::remove(&path)).await?;
                    Ok(put)
                })
                .await
            }
        }
    }

    /// A URL by which anybody can read the blob for some minutes; `None` when the store is not set to give such URLs away. It is
    /// not looked whether there is such a blob.
    pub async fn presigned(&self, key: &BlobKey) -> Result<Option<PresignedUrl>, BlobError> {
        match &self.place {
            Place::Directory(_) => Ok(None),
            Place::Bucket(bucket) => bucket.presigned(key).await,
        }
    }

    /// A blob from its beginning to its end. `None` when there is none.
    pub async fn get(&self, key: &BlobKey) -> Result<Option<Blob>, BlobError> {
        self.open(key, None).await
    }

    /// A blob from its beginning to its end, when that can be told without waiting. `None` says nothing about whether there is one.
    pub fn get_in_place(&self, key: &BlobKey) -> Option<Blob> {
        match &self.place {
            Place::Directory(directory) => directory.read_in_place(key),
            Place::Bucket(_) => None,
        }
    }

    /// A part of a blob; an end past the blob's means its end. `None` when there is no such blob,
    /// [`BlobError::Range`] when it has no byte in the range.
    pub async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Blob>, BlobError> {
        // In most cases there is, which needs one request only.
        let opened =
            if range.start < range.end { self.open(key, Some(range.start..range.end.min(LARGEST))).await } else { Ok(None) };
        let refused = match opened {
            Ok(Some(blob)) => return Ok(Some(blob)),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let Some(size) = self.size(key).await? else { return Ok(None) };
        if range.start >= range.end.min(size) {
            return Err(BlobError::Range { key: key.to_string(), range, size });
        }
        refused.map_or(Ok(None), Err)
    }

    async fn open(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<Option<Blob>, BlobError> {
        if let Place::Directory(directory) = &self.place {
            return directory.read(key, range).await;
        }
        let options = GetOptions::new().with_range(range.map(GetRange::Bounded));
        match self.found(key, self.store.get_opts(&self.location(key), options).await)? {
            Some(result) => Ok(Some(Blob::of(key, result))),
            None => Ok(None),
        }
    }

    /// A small blob at once. `None` when there is none, [`BlobError::TooLarge`] when it has more than `max_bytes`.
    pub async fn read_all(&self, key: &BlobKey, max_bytes: u64) -> Result<Option<Bytes>, BlobError> {
        let Some(blob) = self.get(key).await? else { return Ok(None) };
        let size = blob.size;
        let capacity = usize::try_from(size).ok().filter(|_| size <= max_bytes);
        let Some(capacity) = capacity else {
            return Err(BlobError::TooLarge { key: key.to_string(), size, max_bytes });
        };
        blob.collect(capacity).await.map(Some)
    }

    /// A small part of a blob that is known to be there, at once: all bytes of the range, or an error.
    pub async fn read_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Bytes, BlobError> {
        let Some(blob) = self.get_range(key, range.clone()).await? else {
            return Err(BlobError::Missing { key: key.to_string() });
        };
        match usize::try_from(range.end - range.start) {
            Ok(capacity) if blob.range == range => blob.collect(capacity).await,
            _ => Err(BlobError::Range { key: key.to_string(), range, size: blob.size }),
        }
    }

    /// The size of a blob in bytes. `None` when there is none.
    pub async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        Ok(self.found(key, self.store.head(&self.location(key)).await)?.map(|meta| meta.size))
    }

    /// Removes a blob. One that is not there is as good as removed.
    pub async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        self.found(key, self.store.delete(&self.location(key)).await).map(|_| ())
    }

    /// Whether blobs can be written now: uploads to this machine, and its bucket is there.
    pub async fn ping(&self) -> Result<(), BlobError> {
        let staging = self.staging.clone();
        blocking(staging.path().to_owned(), move || staging.create_now()?.write_bytes(b"ping")).await?;
        match &self.place {
            Place::Directory(_) => Ok(()),
            Place::Bucket(bucket) => bucket.ping().await,
        }
    }

    fn location(&self, key: &BlobKey) -> Location {
        match &self.place {
            Place::Directory(_) => key.path().clone(),
            Place::Bucket(bucket) => bucket.location(key),
        }
    }

    fn found<T>(&self, key: &BlobKey, result: object_store::Result<T>) -> Result<Option<T>, BlobError> {
        match &self.place {
            Place::Directory(_) => error::found(key, result),
            Place::Bucket(bucket) => bucket.found(key, result),
        }
    }
}

/// Runs an upload that is not to break off in the middle because nobody waits for it any more.
async fn to_its_end(
    path: PathBuf,
    upload: impl Future<Output = Result<Put, BlobError>> + Send + 'static,
) -> Result<Put, BlobError> {
    match tokio::spawn(upload).await {
        Ok(put) => put,
        Err(lost) => Err(BlobError::Io { path, source: std::io::Error::other(lost) }),
    }
}
