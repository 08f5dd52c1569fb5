//! The directory that blobs are kept in.

mod read;

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{BlobError, BlobKey, Put, key::OnConflict};

#[derive(Debug, Clone)]
pub(crate) struct Directory(Arc<Path>);

impl Directory {
    /// What is made is for this user only: NARs may be private.
    pub(crate) fn open(root: &Path) -> Result<Self, BlobError> {
        make_directory(root)?;
        let root = at(root, root.canonicalize())?;
        for part in ["nar", "ls", "log", "staging", "partial"] {
            make_directory(&root.join(part))?;
        }
        sync_directory(&root)?;
        Ok(Self(root.into()))
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.to_path_buf()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn is_on_same_device(&self, path: &Path) -> Result<bool, BlobError> {
        let device = |path: &Path| at(path, fs::metadata(path)).map(|meta| meta.dev());
        Ok(device(path)? == device(&self.0)?)
    }

    /// Gives a complete file its name, durably. The file's own name may stay; it is the caller's to remove.
    pub(crate) fn publish(&self, file: &Path, key: &BlobKey) -> Result<Put, BlobError> {
        let target = self.join(key.as_str());
        let parent = target.parent().unwrap_or(&self.0);
        at(file, File::open(file).and_then(|file| file.sync_all()))?;
        if !parent.is_dir() {
            make_directory(parent)?;
            sync_directory(parent.parent().unwrap_or(&self.0))?;
        }
        let put = match give_name(file, &target, key.on_conflict()) {
            // The last blob of the directory was deleted just now, and the directory with it.
            Err(error) if error.kind() == ErrorKind::NotFound && !parent.is_dir() => {
                make_directory(parent)?;
                give_name(file, &target, key.on_conflict())
            }
            put => put,
        };
        let put = at(&target, put)?;
        // Also when it existed: whoever made it may not have come so far yet.
        sync_directory(parent)?;
        Ok(put)
    }
}

fn give_name(file: &Path, target: &Path, on_conflict: OnConflict) -> io::Result<Put> {
    match on_conflict {
        OnConflict::Replace => fs::rename(file, target).map(|()| Put::New),
        // Unlike a rename, a link never replaces a blob whose size and hash somebody has written down.
        OnConflict::Keep => match fs::hard_link(file, target) {
            Ok(()) => Ok(Put::New),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Put::Existed),
            Err(error) => Err(error),
        },
    }
}

/// Makes a directory for this user only, with those above it.
pub(crate) fn make_directory(path: &Path) -> Result<(), BlobError> {
    at(path, DirBuilder::new().recursive(true).mode(0o700).create(path))
}

fn sync_directory(path: &Path) -> Result<(), BlobError> {
    at(path, File::open(path).and_then(|directory| directory.sync_all()))
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> Result<(), BlobError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => at(path, Err(error)),
        _ => Ok(()),
    }
}

pub(crate) fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, BlobError> {
    result.map_err(|source| BlobError::Io { path: path.to_owned(), source })
}

/// Runs work on files where it may block.
pub(crate) async fn blocking<T, F>(path: PathBuf, work: F) -> Result<T, BlobError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, BlobError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(lost) => Err(BlobError::Io { path, source: io::Error::other(lost) }),
    }
}
