use std::io;

use gradient_nix::nar::NarError;
use gradient_nix::{CAHash, NarHash, StorePath};

use super::MAX_WINDOW_LOG;
use crate::content_address::ContentAddressError;

/// Why a NAR is refused. All but [`Read`](Self::Read) say that the upload itself is wrong: sending it again does not help.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The bytes stopped coming.
    #[error("the upload broke off: {0}")]
    Read(#[source] io::Error),
    /// The compressed form is cut off, has something else behind it, or is not zstd at all.
    #[error("the NAR of {path} is not zstd with a window of at most 2^{MAX_WINDOW_LOG} bytes from beginning to end: {source}")]
    Compression {
        /// The path it was sent for.
        path: StorePath,
        /// What the decompressor says.
        source: io::Error,
    },
    /// What is inside is not a NAR.
    #[error("the content of {path} is refused: {source}")]
    Nar {
        /// The path it was sent for.
        path: StorePath,
        /// What is wrong with it.
        source: NarError,
    },
    /// It is larger than allowed.
    #[error("the NAR of {path} has more than the {max} bytes that are allowed")]
    TooLarge {
        /// The path it was sent for.
        path: StorePath,
        /// How many bytes are allowed.
        max: u64,
    },
    /// Its size is not the one claimed.
    #[error("the NAR of {path} was claimed to have {claimed} bytes and has {found}")]
    NarSize {
        /// The path it was sent for.
        path: StorePath,
        /// The size that was claimed.
        claimed: u64,
        /// The size it has.
        found: u64,
    },
    /// Its hash is not the one claimed.
    #[error("the NAR of {path} was claimed to be {claimed} and is {found}")]
    NarHash {
        /// The path it was sent for.
        path: StorePath,
        /// The hash that was claimed.
        claimed: NarHash,
        /// The hash it has.
        found: NarHash,
    },
    /// The size of the compressed form is not the one claimed.
    #[error("the compressed NAR of {path} was claimed to have {claimed} bytes and has {found}")]
    FileSize {
        /// The path it was sent for.
        path: StorePath,
        /// The size that was claimed.
        claimed: u64,
        /// The size it has.
        found: u64,
    },
    /// The hash of the compressed form is not the one claimed.
    #[error("the compressed NAR of {path} was claimed to be {claimed} and is {found}")]
    FileHash {
        /// The path it was sent for.
        path: StorePath,
        /// The hash that was claimed.
        claimed: NarHash,
        /// The hash it has.
        found: NarHash,
    },
    /// A claimed reference is not in it.
    #[error("{path} was claimed to refer to {reference}, which is not found in it")]
    ReferenceNotFound {
        /// The path it was sent for.
        path: StorePath,
        /// What it was claimed to refer to.
        reference: StorePath,
    },
    /// A reference is in it that was not claimed.
    #[error("{path} refers to {reference}, which was not claimed")]
    ReferenceNotClaimed {
        /// The path it was sent for.
        path: StorePath,
        /// What is found in it.
        reference: StorePath,
    },
    /// Its content is not the one its address names.
    #[error("the content of {path} was claimed to be {claimed} and is {found}")]
    Content {
        /// The path it was sent for.
        path: StorePath,
        /// The address that was claimed.
        claimed: Box<CAHash>,
        /// The address it has.
        found: Box<CAHash>,
    },
    /// Its address is that of a single file, and it is none.
    #[error("{path} was claimed to be {claimed}, the hash of a file that is not executable, and is {found}")]
    NotAFile {
        /// The path it was sent for.
        path: StorePath,
        /// The address that was claimed.
        claimed: CAHash,
        /// What it is instead.
        found: &'static str,
    },
    /// Its path does not follow from the address that was claimed.
    #[error(transparent)]
    ContentAddress(#[from] ContentAddressError),
}
