//! Tells whoever follows a log or an evaluation that there is something new to read.
//!
//! A change carries no data: a follower reads the truth from storage. So a follower that is too slow loses nothing, it only
//! reads again.

use gradient_domain::{BuildId, EvaluationId};
use tokio::sync::broadcast;

/// How many changes a follower may lag behind before it is told to read everything again.
const CAPACITY: usize = 4096;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A build's log is longer.
    Log(BuildId),
    /// A build moved to another status.
    Build(BuildId),
    /// An evaluation moved, or has more builds or messages.
    Evaluation(EvaluationId),
}

/// Where changes are announced.
#[derive(Debug, Clone)]
pub(crate) struct Changes(broadcast::Sender<Change>);

impl Changes {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }

    pub(crate) fn announce(&self, change: Change) {
        // An error means that nobody follows, which is fine.
        let _ = self.0.send(change);
    }

    pub(crate) fn followers(&self) -> usize {
        self.0.receiver_count()
    }

    pub(crate) fn follow(&self) -> broadcast::Receiver<Change> {
        self.0.subscribe()
    }
}
