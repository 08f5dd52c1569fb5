//! The part of one job's log that the server has not stored.

use std::collections::VecDeque;

/// How much of a log may wait to be stored before its job has to wait.
const MAX_BYTES: usize = 1 << 20;

/// How much of a log one message carries.
const CHUNK_BYTES: usize = 256 << 10;

/// Log bytes between what is stored and what was printed.
#[derive(Debug, Default)]
pub(crate) struct LogBuffer {
    /// The offset of the first byte that is kept.
    stored: u64,
    /// How many of the kept bytes were sent over the present connection.
    sent: usize,
    bytes: VecDeque<u8>,
}

impl LogBuffer {
    /// Takes as many of the bytes as there is room for, and says how many.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(MAX_BYTES.saturating_sub(self.bytes.len()));
        self.bytes.extend(bytes.iter().take(taken));
        taken
    }

    /// The offset behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.stored + length(self.bytes.len())
    }

    /// Whether there is something to send.
    pub(crate) fn has_unsent(&self) -> bool {
        self.sent < self.bytes.len()
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
    }

    /// All that is not stored has to be sent again.
    pub(crate) fn rewind(&mut self) {
        self.sent = 0;
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
