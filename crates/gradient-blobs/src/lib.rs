//! NARs, their listings and the logs of builds, as named byte streams in a directory.
//!
//! A blob appears under its key complete and durable, or not at all: it is written beside the others, flushed to the disk, and then
//! given its name. NARs and listings are named by the hash of the NAR, so the first one stays; a log replaces the one before.
//! Reading and writing need constant memory, whatever the size.
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
mod directory;
mod error;
mod key;
mod partial;
mod staging;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, local::LocalFileSystem};

pub use blob::Blob;
pub use error::BlobError;
pub use key::BlobKey;
pub use partial::{Partial, Partials};
pub use staging::{StagedFile, Staging};

use directory::{Directory, blocking};
use error::found;

/// The store of blobs. Clones share it.
#[derive(Debug, Clone)]
pub struct Blobs {
    /// What is read from.
    store: Arc<dyn ObjectStore>,
    /// What is written to.
    directory: Directory,
    staging: Staging,
    partials: Partials,
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
        Ok(Self { store: Arc::new(store), directory, staging, partials })
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
        let (staging, directory, key) = (self.staging.clone(), self.directory.clone(), key.clone());
        blocking(self.directory.root(), move || {
            let mut staged = staging.create_now()?;
            staged.write_bytes(&bytes)?;
            directory.publish(staged.path(), &key)
        })
        .await
    }

    /// Moves a verified upload in.
    pub async fn put_staged(&self, key: &BlobKey, staged: StagedFile) -> Result<Put, BlobError> {
        let (directory, key) = (self.directory.clone(), key.clone());
        blocking(self.directory.root(), move || directory.publish(staged.path(), &key)).await
    }

    /// Moves a local file in, whichever file system it is on. The file is gone afterwards, also when the blob existed.
    pub async fn put_file(&self, key: &BlobKey, path: impl Into<PathBuf>) -> Result<Put, BlobError> {
        let (staging, directory, key, path) = (self.staging.clone(), self.directory.clone(), key.clone(), path.into());
        blocking(self.directory.root(), move || {
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

    /// A blob from its beginning to its end. `None` when there is none.
    pub async fn get(&self, key: &BlobKey) -> Result<Option<Blob>, BlobError> {
        self.open(key, None).await
    }

    /// A part of a blob; an end past the blob's means its end. `None` when there is no such blob,
    /// [`BlobError::Range`] when it has no byte in the range.
    pub async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Blob>, BlobError> {
        let Some(size) = self.size(key).await? else { return Ok(None) };
        if range.start >= range.end.min(size) {
            return Err(BlobError::Range { key: key.to_string(), range, size });
        }
        self.open(key, Some(GetRange::Bounded(range))).await
    }

    async fn open(&self, key: &BlobKey, range: Option<GetRange>) -> Result<Option<Blob>, BlobError> {
        let options = GetOptions::new().with_range(range);
        match found(key, self.store.get_opts(key.path(), options).await)? {
            Some(result) => Blob::open(key, result).await.map(Some),
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
        Ok(found(key, self.store.head(key.path()).await)?.map(|meta| meta.size))
    }

    /// Removes a blob. One that is not there is as good as removed.
    pub async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        found(key, self.store.delete(key.path()).await).map(|_| ())
    }

    /// Whether blobs can be written now.
    pub async fn ping(&self) -> Result<(), BlobError> {
        let (staging, root) = (self.staging.clone(), self.directory.root());
        blocking(root, move || staging.create_now()?.write_bytes(b"ping")).await
    }
}
