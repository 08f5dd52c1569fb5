//! The finished log of an attempt: independently compressed frames of 256 KiB in one blob, with an index in the database, so
//! that any part is read without the rest.

use gradient_blobs::BlobKey;
use gradient_domain::{BuildId, Epoch};
use gradient_storage::{Conn, attempts, logs as rows};

use super::LogPart;
use crate::{Engine, EngineError};

/// Bytes of the log in one frame.
const FRAME: u64 = 256 << 10;

/// How well frames are compressed: logs are read far less often than NARs, and CPU is for builds.
const LEVEL: i32 = 3;

/// Moves a log into a blob behind the caller's back. Should the server end before, it is done at the next start.
pub(crate) fn finish_later(engine: &Engine, build: BuildId, epoch: Epoch) {
    let engine = engine.clone();
    tokio::spawn(async move {
        if let Err(error) = finish(&engine, build, epoch).await {
            tracing::error!(%build, %epoch, error = &error as &dyn std::error::Error, "cannot archive a log; it stays in the database");
        }
    });
}

pub(crate) async fn finish(engine: &Engine, build: BuildId, epoch: Epoch) -> Result<(), EngineError> {
    let _permit = engine.archiving().acquire().await.map_err(|_| EngineError::Stopping)?;
    // Asked for more than once when several things end an attempt; what is archived has no rows to be archived from.
    let attempt = engine.storage().read(async move |conn: &mut Conn| attempts::lookup(conn, build, Some(epoch)).await).await?;
    if attempt.is_none_or(|attempt| attempt.finished_at.is_none() || attempt.log_frames.is_some()) {
        return Ok(());
    }
    let mut blob = Vec::new();
    let mut index = FrameIndex::default();
    loop {
        let offset = index.log_bytes;
        let bytes =
            engine.storage().read(async move |conn: &mut Conn| rows::read(conn, build, epoch, offset, FRAME).await).await?;
        if bytes.is_empty() {
            break;
        }
        let frame = zstd::bulk::compress(&bytes, LEVEL).map_err(EngineError::Compression)?;
        index.push(u64::try_from(bytes.len()).unwrap_or(0), u64::try_from(frame.len()).unwrap_or(0));
        blob.extend_from_slice(&frame);
    }
    // An empty log has no frame to be read.
    if !blob.is_empty() {
        engine.blobs().put(&BlobKey::log(build.uuid(), epoch.0), blob.into()).await?;
    }
    let (frames, log_bytes) = (index.to_bytes(), index.log_bytes.cast_signed());
    let is_there = engine
        .storage()
        .grouped(async move |conn: &mut Conn| {
            let is_there = attempts::set_log_frames(conn, build, epoch, frames, log_bytes).await?;
            rows::delete_chunks(conn, build, epoch).await?;
            Ok(is_there)
        })
        .await?;
    if !is_there {
        // It was removed meanwhile, and its log perhaps before there was one.
        engine.blobs().delete(&BlobKey::log(build.uuid(), epoch.0)).await?;
    }
    Ok(())
}

pub(super) async fn read(
    engine: &Engine,
    build: BuildId,
    epoch: Epoch,
    frames: &[u8],
    offset: u64,
    limit: u64,
) -> Result<LogPart, EngineError> {
    let index = FrameIndex::from_bytes(frames);
    let end = offset.saturating_add(limit).min(index.log_bytes);
    let mut bytes = Vec::new();
    for frame in index.covering(offset, end) {
        let key = BlobKey::log(build.uuid(), epoch.0);
        let compressed = engine.blobs().read_range(&key, frame.blob.clone()).await?;
        let capacity = usize::try_from(frame.log.end - frame.log.start).unwrap_or(0);
        let plain = zstd::bulk::decompress(&compressed, capacity).map_err(EngineError::Compression)?;
        let from = usize::try_from(offset.saturating_sub(frame.log.start)).unwrap_or(0);
        let to = usize::try_from(end.min(frame.log.end) - frame.log.start).unwrap_or(0);
        bytes.extend_from_slice(plain.get(from..to).unwrap_or_default());
    }
    Ok(LogPart { bytes, total: index.log_bytes })
}

/// Where the frames are: for each its length in the log and in the blob, as pairs of little-endian `u32`.
#[derive(Debug, Default, PartialEq, Eq)]
struct FrameIndex {
    frames: Vec<Frame>,
    log_bytes: u64,
    blob_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    log: std::ops::Range<u64>,
    blob: std::ops::Range<u64>,
}

impl FrameIndex {
    fn push(&mut self, log: u64, blob: u64) {
        let frame = Frame { log: self.log_bytes..self.log_bytes + log, blob: self.blob_bytes..self.blob_bytes + blob };
        self.log_bytes = frame.log.end;
        self.blob_bytes = frame.blob.end;
        self.frames.push(frame);
    }

    fn to_bytes(&self) -> Vec<u8> {
        let length = |range: &std::ops::Range<u64>| u32::try_from(range.end - range.start).unwrap_or(u32::MAX).to_le_bytes();
        self.frames.iter().flat_map(|frame| [length(&frame.log), length(&frame.blob)]).flatten().collect()
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let mut index = Self::default();
        let (pairs, _) = bytes.as_chunks::<8>();
        for [a, b, c, d, e, f, g, h] in pairs {
            index.push(u64::from(u32::from_le_bytes([*a, *b, *c, *d])), u64::from(u32::from_le_bytes([*e, *f, *g, *h])));
        }
        index
    }

    fn covering(&self, from: u64, to: u64) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(move |frame| frame.log.start < to && from < frame.log.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_survives_storage_and_finds_its_frames() {
        let mut index = FrameIndex::default();
        index.push(100, 10);
        index.push(100, 20);
        index.push(5, 3);
        assert_eq!(FrameIndex::from_bytes(&index.to_bytes()), index);
        let covering = |from, to| index.covering(from, to).map(|frame| frame.blob.start).collect::<Vec<_>>();
        assert_eq!(covering(0, 100), [0]);
        assert_eq!(covering(99, 101), [0, 10]);
        assert_eq!(covering(200, 205), [30]);
        assert!(covering(205, 300).is_empty());
    }
}
