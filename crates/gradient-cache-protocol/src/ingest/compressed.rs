use std::io::{self, BufReader, Read};

use gradient_nix::NarHash;
use sha2::{Digest as _, Sha256};

use super::{IngestError, MAX_WINDOW_LOG};

/// Where the bytes of a NAR come from.
pub(super) trait Source {
    /// As [`Read::read`], telling apart what failed.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken>;
}

/// Why no more bytes come.
#[derive(Debug)]
pub(super) enum Broken {
    /// The upload broke off.
    Upload(io::Error),
    /// What came cannot be decompressed.
    Compression(io::Error),
    /// What came cannot be kept.
    Keep(io::Error),
}

/// A NAR as it is.
pub(super) struct Plain<R>(pub(super) R);

impl<R: Read> Source for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        self.0.read(buffer).map_err(Broken::Upload)
    }
}

/// A NAR that is compressed with zstd.
pub(super) struct Decoder<R: Read> {
    inner: zstd::stream::read::Decoder<'static, BufReader<Hashing<R>>>,
}

impl<R: Read> Decoder<R> {
    pub(super) fn new(compressed: R) -> Result<Self, IngestError> {
        let compressed = Hashing::new(compressed);
        let mut inner = zstd::stream::read::Decoder::new(compressed).map_err(IngestError::Read)?;
        inner.window_log_max(MAX_WINDOW_LOG).map_err(IngestError::Read)?;
        Ok(Self { inner })
    }

    /// The hash and the size of the compressed bytes, all of which have been read when the NAR has.
    pub(super) fn finish(self) -> (NarHash, u64) {
        self.inner.finish().into_inner().finish()
    }
}

impl<R: Read> Source for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        self.inner.read(buffer).map_err(|error| {
            if self.inner.get_ref().get_ref().is_broken() { Broken::Upload(error) } else { Broken::Compression(error) }
        })
    }
}

/// Hashes what is read through it.
pub(super) struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    size: u64,
    broken: bool,
}

impl<R> Hashing<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0, broken: false }
    }

    /// The hash and the size of what was read.
    pub(super) fn finish(self) -> (NarHash, u64) {
        (NarHash(self.hasher.finalize().into()), self.size)
    }

    /// Whether reading broke off: whatever a decompressor says then, the upload is to blame.
    pub(super) const fn is_broken(&self) -> bool {
        self.broken
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.hasher.update(&buffer[..count]);
                self.size += count as u64;
                Ok(count)
            }
            Err(error) => {
                self.broken = error.kind() != io::ErrorKind::Interrupted;
                Err(error)
            }
        }
    }
}
