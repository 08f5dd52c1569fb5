//! How far a fetch has come, and reading behind it.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use gradient_blobs::StagedReader;
use tokio::sync::watch;

use super::PulledNar;
use crate::{EngineError, fetches::Counters};

/// How much of a NAR has to have come before any of it is sent on. What is smaller is whole then: its size can be told, and nothing
/// of it is sent when it is not what it should be.
const FIRST: u64 = 1 << 20;

/// How much is read at a time.
const PIECE: usize = 256 << 10;

/// How far it has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Where it goes.
    pub(super) file: Option<StagedReader>,
    /// So many bytes of it are there.
    pub(super) written: u64,
    /// How it has ended: good, or not.
    pub(super) end: Option<Result<(), Failure>>,
}

/// Why there is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The upstream does not have the NAR.
    Absent,
    /// Too many are being fetched.
    Busy,
    /// Another reason, as a sentence.
    Broken(String),
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Absent => Self::Upstream("it has no such NAR".to_owned()),
            Failure::Busy => Self::Busy,
            Failure::Broken(why) => Self::Upstream(why),
        }
    }
}

/// The NAR, as soon as enough of it has come.
pub(super) async fn follow(
    mut progress: watch::Receiver<Progress>,
    counters: Arc<Counters>,
) -> Result<Option<PulledNar>, EngineError> {
    let now = wait(&mut progress, |now| now.written >= FIRST).await;
    let size = match now.end {
        Some(Err(Failure::Absent)) => return Ok(None),
        Some(Err(failure)) => return Err(failure.into()),
        Some(Ok(())) => Some(now.written),
        None => None,
    };
    let Some(file) = now.file else { return Ok(None) };
    let pieces = stream::unfold(Some((progress, file, 0)), move |state| {
        let counters = Arc::clone(&counters);
        async move {
            let (mut progress, file, offset) = state?;
            let now = wait(&mut progress, |now| now.written > offset).await;
            if let Some(Err(failure)) = now.end {
                return Some((Err(failure.into()), None));
            }
            let there = usize::try_from(now.written.saturating_sub(offset)).unwrap_or(PIECE);
            if there == 0 {
                return None;
            }
            let piece = match file.read_at(offset, there.min(PIECE)).await {
                Ok(piece) if !piece.is_empty() => piece,
                Ok(_) => return Some((Err(EngineError::Upstream("it was cut off".to_owned())), None)),
                Err(error) => return Some((Err(EngineError::Spool(error)), None)),
            };
            counters.served(piece.len());
            let offset = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(0));
            Some((Ok(piece), Some((progress, file, offset))))
        }
    });
    Ok(Some(PulledNar { size, stream: pieces.boxed() }))
}

/// The progress once it is as it should be, or has ended.
async fn wait(progress: &mut watch::Receiver<Progress>, wanted: impl Fn(&Progress) -> bool) -> Progress {
    if let Ok(now) = progress.wait_for(|now| now.end.is_some() || wanted(now)).await {
        return now.clone();
    }
    // Whoever fetched is gone without a word.
    let mut last = progress.borrow().clone();
    last.end.get_or_insert_with(|| Err(Failure::Broken("the server has given it up".to_owned())));
    last
}
