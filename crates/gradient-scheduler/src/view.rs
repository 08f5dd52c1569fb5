//! What can be seen of the scheduler's state from outside.

use gradient_domain::{Epoch, Job, WorkerId};

use crate::{Tick, WorkerCapabilities, WorkerOrganization};

/// How much there is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Unfinished evaluations.
    pub evaluations: u32,
    /// Those of them that wait for something that is not there.
    pub waiting_evaluations: u32,
    /// Builds whose dependencies have not ended.
    pub blocked_builds: u32,
    /// Builds that could run with a slot.
    pub ready_builds: u32,
    /// Builds that have an owner.
    pub running_builds: u32,
    /// Fetches and evaluations that could run with a slot.
    pub ready_evaluation_jobs: u32,
    /// Fetches and evaluations that have an owner.
    pub running_evaluation_jobs: u32,
}

/// How long something takes that nobody knows: nearly always between the least and the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Seconds, if all goes as expected.
    pub expected_secs: u64,
    /// Seconds at least.
    pub least_secs: u64,
    /// Seconds at most.
    pub most_secs: u64,
}

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
