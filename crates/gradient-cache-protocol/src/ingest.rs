//! Verifying a NAR while it streams.

mod compressed;
mod decompressor;
mod error;
mod expectation;
mod mentions;
mod modulo;
mod nar_file;
mod pass;
mod receive;

use std::collections::BTreeSet;
use std::io::Read;

use gradient_nix::nar::Listing;
use gradient_nix::{NarHash, StorePath};

pub use error::{IngestError, Subject};
pub use expectation::{Candidates, Expectation};
pub use mentions::Mentions;
pub use nar_file::{NarFileName, NarFileNameError};
pub use receive::{ReceivedNar, receive, receive_expected, verify_and_keep};

/// What a NAR turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedNar {
    /// Its hash.
    pub nar_hash: NarHash,
    /// Its size in bytes.
    pub nar_size: u64,
    /// The candidates whose hash is in it.
    pub references: BTreeSet<StorePath>,
    /// What it contains, and where.
    pub listing: Listing,
    /// The file that declares its [build products](gradient_nix::build_products), as much of it as is read; empty without one.
    pub build_products: Vec<u8>,
}

/// What a NAR turned out to be, and the compressed form it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedUpload {
    /// The NAR.
    pub nar: VerifiedNar,
    /// The hash of the compressed form.
    pub file_hash: NarHash,
    /// The size of the compressed form in bytes.
    pub file_size: u64,
}

/// The largest window that a compressed upload may use, as a power of two: 32 MiB, which all of zstd's levels up to 20 keep to.
/// It bounds the memory of one upload.
pub const MAX_WINDOW_LOG: u32 = 25;

/// Verifies a NAR that is compressed with zstd, to the end of `compressed`. Reads it once, in memory that does not grow with it.
/// It blocks as long as `compressed` does.
pub fn verify(compressed: impl Read, expectation: &Expectation) -> Result<VerifiedUpload, IngestError> {
    let mut decoder = compressed::Decoder::new(compressed)?;
    let nar = pass::read(&mut decoder, expectation, None)?;
    let (file_hash, file_size) = decoder.finish();
    expectation.check_file(file_hash, file_size)?;
    Ok(VerifiedUpload { nar, file_hash, file_size })
}

/// As [`verify`], for a NAR that is not compressed (any more).
pub fn verify_nar(nar: impl Read, expectation: &Expectation) -> Result<VerifiedNar, IngestError> {
    pass::read(&mut compressed::Plain(nar), expectation, None)
}

#[cfg(test)]
mod tests;
