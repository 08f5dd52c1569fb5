use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tempfile::{NamedTempFile, TempPath};

use crate::{
    BlobError,
    directory::{at, blocking, remove},
};

/// The directory of uploads that are still being verified. It is emptied when the store is opened, except for files that a living
/// process has open there.
#[derive(Debug, Clone)]
pub struct Staging(Arc<Path>);

impl Staging {
    pub(crate) fn open(path: PathBuf) -> Result<Self, BlobError> {
        for entry in at(&path, fs::read_dir(&path))? {
            let file = at(&path, entry)?.path();
            if !is_in_use(&file) {
                remove(&file)?;
            }
        }
        Ok(Self(path.into()))
    }

    /// A new, empty file. It is removed when it is dropped, unless it was put.
    pub async fn create(&self) -> Result<StagedFile, BlobError> {
        let staging = self.clone();
        blocking(self.0.to_path_buf(), move || staging.create_now()).await
    }

    pub(crate) fn create_now(&self) -> Result<StagedFile, BlobError> {
        let file = at(&self.0, tempfile::Builder::new().prefix("upload-").tempfile_in(&self.0))?;
        // Some network file systems have no locks; there the file is only unprotected from another process that starts.
        let _ = file.as_file().try_lock();
        let (file, path) = NamedTempFile::into_parts(file);
        Ok(StagedFile { file, path })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

fn is_in_use(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// A local file that becomes a blob, or goes when it is dropped. Writing it blocks; [`to_async`](Self::to_async) does not.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    path: TempPath,
}

impl StagedFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same open file, for asynchronous writing or reading. Both share one position. Flush it before the file is put.
    pub fn to_async(&self) -> Result<tokio::fs::File, BlobError> {
        at(&self.path, self.file.try_clone()).map(tokio::fs::File::from_std)
    }

    /// Reads what was written so far, and what is written later.
    pub fn reader(&self) -> Result<StagedReader, BlobError> {
        at(&self.path, self.file.try_clone()).map(|file| StagedReader(Arc::new(file)))
    }

    /// Writes bytes to a place. Who does not wait for the end may write the same bytes there again.
    pub async fn write_at(&self, bytes: Bytes, offset: u64) -> Result<(), BlobError> {
        let (path, file) = (self.path.to_path_buf(), at(&self.path, self.file.try_clone())?);
        blocking(path.clone(), move || at(&path, file.write_all_at(&bytes, offset))).await
    }

    /// Reads it from its beginning, with a position of its own.
    pub fn reopen(&self) -> Result<File, BlobError> {
        at(&self.path, File::open(&self.path))
    }

    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        at(&self.path, self.file.write_all(bytes))
    }

    pub(crate) fn copy_from(&mut self, path: &Path) -> Result<(), BlobError> {
        let copied = File::open(path).and_then(|mut source| io::copy(&mut source, &mut self.file));
        at(path, copied).map(|_| ())
    }
}

/// Reads a staged file from any place, also while it is being written, and after it was put or dropped. Clones share it.
#[derive(Debug, Clone)]
pub struct StagedReader(Arc<File>);

impl StagedReader {
    /// At most so many bytes from a place on: fewer when it has fewer now, and none at its end.
    pub async fn read_at(&self, offset: u64, max_bytes: usize) -> io::Result<Bytes> {
        let file = Arc::clone(&self.0);
        let read = move || {
            let mut bytes = vec![0; max_bytes];
            let count = file.read_at(&mut bytes, offset)?;
            bytes.truncate(count);
            Ok(bytes.into())
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
