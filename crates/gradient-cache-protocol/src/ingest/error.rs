use std::{fmt, io};

use gradient_nix::{CAHash, NarHash, StorePath, nar::NarError};

use super::{MAX_WINDOW_LOG, NarFileName};
use crate::content_address::ContentAddressError;

/// Why a NAR is refused. All but [`Read`](Self::Read) and [`Keep`](Self::Keep) say that the upload itself is wrong: sending it again
/// does not help.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The bytes stopped coming.
    #[error("the upload broke off: {0}")]
    Read(#[source] io::Error),
    /// The compressed form is cut off, has something else behind it, or is none that is taken.
    #[error(
        "{subject} cannot be decompressed from beginning to end (the window of zstd may have 2^{MAX_WINDOW_LOG} bytes): {source}"
    )]
    Compression {
        /// What it was sent as.
        subject: Subject,
        /// What the decompressor says.
        source: io::Error,
    },
    /// What is inside is not a NAR.
    #[error("the content of {subject} is refused: {source}")]
    Nar {
        /// What it was sent as.
        subject: Subject,
        /// What is wrong with it.
        source: NarError,
    },
    /// It is larger than allowed.
    #[error("the NAR of {subject} has more than the {max} bytes that are allowed")]
    TooLarge {
        /// What it was sent as.
        subject: Subject,
        /// How many bytes are allowed.
        max: u64,
    },
    /// Its size is not the one claimed.
    #[error("the NAR of {subject} was claimed to have {claimed} bytes and has {found}")]
    NarSize {
        /// What it was sent as.
        subject: Subject,
        /// The size that was claimed.
        claimed: u64,
        /// The size it has.
        found: u64,
    },
    /// Its hash is not the one claimed.
    #[error("the NAR of {subject} was claimed to be {claimed} and is {found}")]
    NarHash {
        /// What it was sent as.
        subject: Subject,
        /// The hash that was claimed.
        claimed: NarHash,
        /// The hash it has.
        found: NarHash,
    },
    /// The size of the compressed form is not the one claimed.
    #[error("the compressed NAR of {subject} was claimed to have {claimed} bytes and has {found}")]
    FileSize {
        /// What it was sent as.
        subject: Subject,
        /// The size that was claimed.
        claimed: u64,
        /// The size it has.
        found: u64,
    },
    /// The hash of the compressed form is not the one claimed.
    #[error("the compressed NAR of {subject} was claimed to be {claimed} and is {found}")]
    FileHash {
        /// What it was sent as.
        subject: Subject,
        /// The hash that was claimed.
        claimed: NarHash,
        /// The hash it has.
        found: NarHash,
    },
    /// A claimed reference is not in it.
    #[error("{subject} was claimed to refer to {reference}, which is not found in it")]
    ReferenceNotFound {
        /// What it was sent as.
        subject: Subject,
        /// What it was claimed to refer to.
        reference: StorePath,
    },
    /// A reference is in it that was not claimed.
    #[error("{subject} refers to {reference}, which was not claimed")]
    ReferenceNotClaimed {
        /// What it was sent as.
        subject: Subject,
        /// What is found in it.
        reference: StorePath,
    },
    /// Its content is not the one its address names.
    #[error("the content of {subject} was claimed to be {claimed} and is {found}")]
    Content {
        /// What it was sent as.
        subject: Subject,
        /// The address that was claimed.
        claimed: Box<CAHash>,
        /// The address it has.
        found: Box<CAHash>,
    },
    /// Its address is that of a single file, and it is none.
    #[error("{subject} was claimed to be {claimed}, the hash of a file that is not executable, and is {found}")]
    NotAFile {
        /// What it was sent as.
        subject: Subject,
        /// The address that was claimed.
        claimed: CAHash,
        /// What it is instead.
        found: &'static str,
    },
    /// The file is not named by the hash of what it has in it.
    #[error("{name} has another hash, {found}")]
    FileName {
        /// The name it was sent under.
        name: NarFileName,
        /// The hash of what was sent.
        found: NarHash,
    },
    /// What came could not be kept, which is not the upload's fault.
    #[error("what was sent cannot be kept: {0}")]
    Keep(#[source] io::Error),
    /// Its path does not follow from the address that was claimed.
    #[error(transparent)]
    ContentAddress(#[from] ContentAddressError),
}

/// What a NAR was sent as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The content of a path.
    Path(StorePath),
    /// A file of a cache, before it is known which path it is the content of.
    File(Box<NarFileName>),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::File(name) => name.fmt(f),
        }
    }
}
