//! What can be seen of the scheduler's state from outside.

use gradient_domain::{Epoch, Job, WorkerId};

use crate::{Tick, WorkerCapabilities, WorkerOrganization};

/// A connected worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// The worker.
    pub worker: WorkerId,
    /// The organizations it works for.
    pub organizations: Vec<WorkerOrganization>,
    /// What the machine can do.
    pub capabilities: WorkerCapabilities,
    /// Whether it takes nothing more.
    pub draining: bool,
    /// When this session began.
    pub connected_at: Tick,
    /// The jobs it owns, in order.
    pub jobs: Vec<OwnedJob>,
}

/// A job and its owner's view of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedJob {
    /// The job.
    pub job: Job,
    /// The assignment.
    pub epoch: Epoch,
    /// When the worker began with it, once it has said so.
    pub started_at: Option<Tick>,
}
