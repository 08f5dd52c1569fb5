//! The part of one job's log that the server has not stored.

mod spill;

use std::{collections::VecDeque, path::Path};

use spill::Spill;

/// How much of a log is kept in memory; what comes while the server is away goes to a file beyond that.
const MAX_BYTES: usize = 1 << 20;

/// How much of a log one message carries.
const CHUNK_BYTES: usize = 256 << 10;

/// Log bytes between what is stored and what was printed.
#[derive(Debug, Default)]
pub(crate) struct LogBuffer {
    /// The offset of the first byte that is kept.
    stored: u64,
    /// How many of the bytes in memory were sent over the present connection.
    sent: usize,
    bytes: VecDeque<u8>,
    /// What comes behind the bytes in memory.
    spill: Option<Spill>,
}

impl LogBuffer {
    /// Takes as many of the bytes as there is room for, and says how many. Without a directory only memory counts.
    pub(crate) fn push(&mut self, bytes: &[u8], directory: Option<&Path>) -> usize {
        let in_memory = match self.spill {
            None => bytes.len().min(MAX_BYTES.saturating_sub(self.bytes.len())),
            Some(_) => 0,
        };
        let (front, rest) = bytes.split_at(in_memory);
        self.bytes.extend(front);
        let spilled = match (rest, directory) {
            ([], _) | (_, None) => 0,
            (rest, Some(directory)) => self.spill(rest, directory),
        };
        in_memory + spilled
    }

    /// Without room on the disk the job has to wait, as it has without a directory.
    fn spill(&mut self, bytes: &[u8], directory: &Path) -> usize {
        let mut spilled = match self.spill.take().map_or_else(|| Spill::new(directory), Ok) {
            Ok(spill) => spill,
            Err(error) => {
                tracing::warn!(%error, "a log that the server does not take now cannot be kept in a file");
                return 0;
            }
        };
        let taken = spilled.push(bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, "a log that the server does not take now cannot be kept in a file");
            0
        });
        self.spill = Some(spilled).filter(|spill| !spill.is_empty());
        taken
    }

    /// The offset behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.stored + length(self.bytes.len()) + self.spill.as_ref().map_or(0, Spill::len)
    }

    /// Whether there is something to send.
    pub(crate) fn has_unsent(&self) -> bool {
        self.sent < self.bytes.len()
    }

    /// Whether all of it was sent.
    pub(crate) fn is_sent(&self) -> bool {
        !self.has_unsent() && self.spill.is_none()
    }

    /// The next bytes to send with their offset.
    pub(crate) fn next_chunk(&mut self) -> Option<(u64, Vec<u8>)> {
        if !self.has_unsent() {
            return None;
        }
        let offset = self.stored + length(self.sent);
        let chunk: Vec<u8> = self.bytes.range(self.sent..).take(CHUNK_BYTES).copied().collect();
        self.sent += chunk.len();
        Some((offset, chunk))
    }

    /// Drops what is stored.
    pub(crate) fn stored(&mut self, offset: u64) {
        let gone = usize::try_from(offset.saturating_sub(self.stored)).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.drain(..gone);
        self.stored += length(gone);
        self.sent = self.sent.saturating_sub(gone);
        if let Some(spill) = &mut self.spill {
            match spill.pull(MAX_BYTES.saturating_sub(self.bytes.len())) {
                Ok(bytes) => self.bytes.extend(bytes),
                Err(error) => tracing::error!(%error, "a log that was kept in a file cannot be read; trying again"),
            }
        }
        self.spill = self.spill.take().filter(|spill| !spill.is_empty());
    }

    /// All that is not stored has to be sent again.
    pub(crate) fn rewind(&mut self) {
        self.sent = 0;
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
