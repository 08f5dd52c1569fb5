//! Build logs: rows while a build runs, so that what is acknowledged is durable; one compressed blob per attempt afterwards.

mod archive;
mod follow;

use gradient_domain::{BuildId, Epoch};
use gradient_storage::{
    Conn,
    attempts::{self, Attempt},
    logs as rows,
};

pub(crate) use archive::finish_later;
pub use follow::LogLine;

use crate::{Engine, EngineError, changes::Change, measures};

/// The most bytes that one read gives.
pub const MAX_READ: u64 = 8 << 20;

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPart {
    /// The bytes, as the builder wrote them.
    pub bytes: Vec<u8>,
    /// How long the whole log is by now.
    pub total: u64,
}

/// Appends to the log of a running build; gives the offset up to which it is durable, which is less than the end of `bytes`
/// when there is a gap before them. What goes beyond the limit is not kept: the worker that lets a builder print on is broken.
pub(crate) async fn append(
    engine: &Engine,
    build: BuildId,
    epoch: Epoch,
    offset: u64,
    bytes: Vec<u8>,
) -> Result<u64, EngineError> {
    let limit = engine.settings().max_log_bytes;
    let end = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    let bytes = within(limit, offset, bytes);
    let sent = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let stored =
        engine.storage().grouped(async move |conn: &mut Conn| rows::append(conn, build, epoch, offset, bytes).await).await?;
    measures::log_stored(stored.saturating_sub(offset).min(sent));
    engine.changes().announce(Change::Log(build));
    Ok(if stored >= end.min(limit) { stored.max(end) } else { stored })
}

/// As much of the bytes at `offset` as a log of at most `limit` bytes has.
pub(crate) fn within(limit: u64, offset: u64, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX));
    bytes
}

impl Engine {
    /// Bytes of a build's log from `offset` on, at most `limit` and at most [`MAX_READ`]; of the newest attempt when none is
    /// named. `None` when there is no such attempt yet.
    pub async fn log(
        &self,
        build: BuildId,
        attempt: Option<Epoch>,
        offset: u64,
        limit: u64,
    ) -> Result<Option<LogPart>, EngineError> {
        let found = self.storage().read(async move |conn: &mut Conn| attempts::lookup(conn, build, attempt).await).await?;
        match found {
            Some(attempt) => self.attempt_log(&attempt, offset, limit.min(MAX_READ + 3)).await.map(Some),
            None => Ok(None),
        }
    }

    pub(crate) async fn attempt_log(&self, attempt: &Attempt, offset: u64, limit: u64) -> Result<LogPart, EngineError> {
        let (build, epoch) = (attempt.build, attempt.epoch);
        if let Some(frames) = &attempt.log_frames {
            return archive::read(self, build, epoch, frames, offset, limit).await;
        }
        let (bytes, total, archived) = self
            .storage()
            .read(async move |conn: &mut Conn| {
                let bytes = rows::read(conn, build, epoch, offset, limit).await?;
                let total = rows::length(conn, build, epoch).await?;
                // Rows that are gone since the attempt was looked at are in a blob now.
                let again = if total == 0 { attempts::lookup(conn, build, Some(epoch)).await? } else { None };
                Ok((bytes, total, again.and_then(|attempt| attempt.log_frames)))
            })
            .await?;
        match archived {
            Some(frames) => archive::read(self, build, epoch, &frames, offset, limit).await,
            None => Ok(LogPart { bytes, total }),
        }
    }
}
