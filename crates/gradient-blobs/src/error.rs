use std::{io, ops::Range, path::PathBuf};

use thiserror::Error;

use crate::{BlobKey, BucketProblem};

/// What can go wrong with blobs. That there is none under a key is no error, except where one must be.
#[derive(Debug, Error)]
pub enum BlobError {
    /// The operating system refused.
    #[error("the blob store cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The object store refused.
    #[error("the blob store cannot reach {key}")]
    Store {
        /// The key, or the store itself.
        key: String,
        /// Why not.
        #[source]
        source: object_store::Error,
    },
    /// The bucket cannot be used, or its server refused.
    #[error("cannot use {object} in the bucket {bucket} of {server}: {problem}")]
    Bucket {
        /// The bucket's name.
        bucket: String,
        /// Its server.
        server: String,
        /// The full name of the object.
        object: String,
        /// What is wrong, and what to do.
        problem: BucketProblem,
        /// What came back.
        #[source]
        source: Box<object_store::Error>,
    },
    /// Reading a blob broke off.
    #[error("reading the blob {key} broke off")]
    Read {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no blob under a key that must have one.
    #[error("the blob {key} is missing")]
    Missing {
        /// The key.
        key: String,
    },
    /// Somebody else is writing it.
    #[error("the upload {name} is being written by somebody else")]
    InUse {
        /// The upload.
        name: String,
    },
    /// The blob is larger than the caller takes.
    #[error("the blob {key} has {size} bytes, more than {max_bytes}")]
    TooLarge {
        /// The key.
        key: String,
        /// The blob's size.
        size: u64,
        /// What the caller takes.
        max_bytes: u64,
    },
    /// The blob does not reach into the range, or does not fill it.
    #[error("the blob {key} has {size} bytes, not those of {}..{}", range.start, range.end)]
    Range {
        /// The key.
        key: String,
        /// What was asked for.
        range: Range<u64>,
        /// The blob's size.
        size: u64,
    },
}

/// Makes a missing object `None`.
pub(crate) fn found<T>(key: &BlobKey, result: object_store::Result<T>) -> Result<Option<T>, BlobError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(source) => Err(BlobError::Store { key: key.to_string(), source }),
    }
}
