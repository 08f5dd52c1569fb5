use std::io::{self, Read};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Chunks that may wait for the verifier; beyond that the sender waits.
const WAITING_CHUNKS: usize = 16;

/// Bytes that come in chunks, read on a thread of its own.
pub(crate) struct Incoming {
    chunks: mpsc::Receiver<Bytes>,
    current: Bytes,
    /// How many bytes may still come: frames without contents could go on for ever.
    left: u64,
}

/// A way for bytes to come, at most so many.
pub(crate) fn incoming(max_bytes: u64) -> (mpsc::Sender<Bytes>, Incoming) {
    let (sender, chunks) = mpsc::channel(WAITING_CHUNKS);
    (sender, Incoming { chunks, current: Bytes::new(), left: max_bytes })
}

/// How large a compressed NAR may be: what cannot be compressed becomes a little larger.
pub(crate) fn max_compressed(nar_bytes: u64) -> u64 {
    nar_bytes.saturating_add(nar_bytes / 64).saturating_add(1 << 20)
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            let Some(chunk) = self.chunks.blocking_recv() else { return Ok(0) };
            let left = self.left.checked_sub(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            self.left = left.ok_or_else(|| io::Error::other("more was sent than is taken"))?;
            self.current = chunk;
        }
        let count = buffer.len().min(self.current.len());
        let (taken, _) = buffer.split_at_mut(count);
        taken.copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}
