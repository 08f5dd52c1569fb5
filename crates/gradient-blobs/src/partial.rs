use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    BlobError,
    directory::{at, blocking, remove},
};

/// Uploads that come in pieces, each a file of its own until it is complete. Unlike what is staged they outlive the process, so
/// that a client can go on after it.
#[derive(Debug, Clone)]
pub struct Partials(Arc<Path>);

/// One of them, which nobody else has open.
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
}

impl Partials {
    pub(crate) fn open_in(path: PathBuf) -> Self {
        Self(path.into())
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.0.join(id.hyphenated().to_string())
    }

    /// Makes an empty one.
    pub async fn create(&self, id: Uuid) -> Result<(), BlobError> {
        let path = self.path(id);
        blocking(path.clone(), move || at(&path, File::create_new(&path)).map(drop)).await
    }

    /// How many bytes have come. `None` when there is none with this id.
    pub async fn length(&self, id: Uuid) -> Result<Option<u64>, BlobError> {
        let path = self.path(id);
        blocking(path.clone(), move || match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            metadata => at(&path, metadata).map(|metadata| Some(metadata.len())),
        })
        .await
    }

    /// Opens one to go on with it. `None` when there is none with this id; [`BlobError::InUse`] while somebody else has it open.
    pub async fn open(&self, id: Uuid) -> Result<Option<Partial>, BlobError> {
        let path = self.path(id);
        blocking(path.clone(), move || {
            let file = match OpenOptions::new().read(true).append(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                file => at(&path, file)?,
            };
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => Err(BlobError::InUse { name: id.to_string() }),
                // Some network file systems have no locks; there two who send at the same time spoil it for themselves.
                Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(Partial { file, path })),
            }
        })
        .await
    }

    /// Removes one. One that is not there is as good as removed.
    pub async fn remove(&self, id: Uuid) -> Result<(), BlobError> {
        let path = self.path(id);
        blocking(path.clone(), move || remove(&path)).await
    }

    /// Those that there are.
    pub async fn list(&self) -> Result<Vec<Uuid>, BlobError> {
        let path = self.0.to_path_buf();
        blocking(path.clone(), move || {
            let names = at(&path, fs::read_dir(&path))?.map(|entry| entry.map(|entry| entry.file_name()));
            let names: Vec<_> = at(&path, names.collect::<io::Result<_>>())?;
            Ok(names.iter().filter_map(|name| Uuid::try_parse(name.to_str()?).ok()).collect())
        })
        .await
    }
}

impl Partial {
    /// How many bytes have come.
    pub fn length(&self) -> Result<u64, BlobError> {
        at(&self.path, self.file.metadata()).map(|metadata| metadata.len())
    }

    /// The same open file, for writing at its end. Flush it.
    pub fn to_async(&self) -> Result<tokio::fs::File, BlobError> {
        at(&self.path, self.file.try_clone()).map(tokio::fs::File::from_std)
    }

    /// Reads it from its beginning. The file stays open for this one only until that is dropped too.
    pub fn reader(&self) -> Result<File, BlobError> {
        at(&self.path, File::open(&self.path))
    }
}
