//! What is stored, by name, and what is put aside.

use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{ObjectStoreExt, path::Path};

use crate::{BlobError, Blobs, Place};

/// Where blobs are that were put aside, below their old names.
const QUARANTINE: &str = "quarantine";

/// Something that is stored, whether it has the name of a blob or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its name: the text of its key.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: SystemTime,
}

impl Blobs {
    /// Everything below a folder, such as `nar`, in no order and without having it in memory.
    pub fn list(&self, folder: &str) -> BoxStream<'static, Result<StoredBlob, BlobError>> {
        let (below, folder) = (self.located(folder), folder.to_owned());
        let key = folder.clone();
        let all = self.store.list(Some(&below)).map_ok(move |meta| {
            let names = meta.location.prefix_match(&below).into_iter().flatten();
            let name = names.fold(folder.clone(), |path, name| format!("{path}/{}", name.as_ref()));
            StoredBlob { name, size: meta.size, modified: meta.last_modified.into() }
        });
        all.map_err(move |source| BlobError::Store { key: key.clone(), source }).boxed()
    }

    /// Moves a blob to `quarantine/<name>`, where nobody gets it. Whether there was one.
    pub async fn put_aside(&self, name: &str) -> Result<bool, BlobError> {
        self.rename(name, &format!("{QUARANTINE}/{name}")).await
    }

    /// Moves a blob back that was put aside. Whether there was one.
    pub async fn put_back(&self, name: &str) -> Result<bool, BlobError> {
        self.rename(&format!("{QUARANTINE}/{name}"), name).await
    }

    /// Removes for good what was put aside. Whether there was such a blob.
    pub async fn discard_aside(&self, name: &str) -> Result<bool, BlobError> {
        let name = format!("{QUARANTINE}/{name}");
        there(&name, self.store.delete(&self.located(&name)).await)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<bool, BlobError> {
        there(from, self.store.rename(&self.located(from), &self.located(to)).await)
    }

    fn located(&self, name: &str) -> Path {
        match &self.place {
            Place::Directory(_) => Path::from(name),
            Place::Bucket(bucket) => bucket.located(name),
        }
    }
}

fn there(name: &str, result: object_store::Result<()>) -> Result<bool, BlobError> {
    match result {
        Ok(()) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(source) => Err(BlobError::Store { key: name.to_owned(), source }),
    }
}
