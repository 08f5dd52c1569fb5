//! A file for what does not fit into memory: written at its end, read from its beginning, without a name.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

/// How much one file takes. The server ends a build that prints more than a limit, which is lower by default.
const MAX_BYTES: u64 = 256 << 20;

#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    read: u64,
    written: u64,
}

impl Spill {
    /// A file in this directory, which goes when it is closed.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(directory)?, read: 0, written: 0 })
    }

    /// How many bytes were written and not read.
    pub(super) const fn len(&self) -> u64 {
        self.written - self.read
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.written == self.read
    }

    /// Appends as many of the bytes as there is room for, and says how many.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(MAX_BYTES.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.file.write_all_at(taken, self.written)?;
        self.written += super::length(taken.len());
        Ok(taken.len())
    }

    /// The first bytes, at most so many.
    pub(super) fn pull(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.len()).unwrap_or(usize::MAX).min(most)];
        self.file.read_exact_at(&mut bytes, self.read)?;
        self.read += super::length(bytes.len());
        Ok(bytes)
    }
}
