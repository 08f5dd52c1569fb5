//! What the scheduler wants done.

use gradient_domain::{BuildId, BuildStatus, Epoch, EvaluationId, EvaluationStatus, EvaluationWait, FailureKind, Job, WorkerId};

/// Something to make durable or to tell a worker, in the order of decision. What concerns workers is told them only after
/// everything before it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The worker is the owner of the job from now on. For a build, [`Decision::BuildMoved`] to `Building` comes before.
    Assign {
        /// The job.
        job: Job,
        /// The assignment's number.
        epoch: Epoch,
        /// The owner.
        worker: WorkerId,
    },
    /// The worker was the owner and shall stop.
    Cancel {
        /// The job.
        job: Job,
        /// The assignment.
        epoch: Epoch,
        /// The former owner.
        worker: WorkerId,
    },
    /// A worker that came back has a job that is not its own any more, and shall stop.
    JobRefused {
        /// The job.
        job: Job,
        /// The assignment that the worker believes in.
        epoch: Epoch,
        /// The worker.
        worker: WorkerId,
    },
    /// A build's status has changed. Never `Completed` after [`Event::JobFinished`](crate::Event::JobFinished), which says that
    /// this is durable already.
    BuildMoved {
        /// The build.
        build: BuildId,
        /// Its status from now on.
        status: BuildStatus,
        /// Its last assignment.
        epoch: Epoch,
        /// With `DependencyFailed`: the build whose own failure is the reason.
        cause: Option<BuildId>,
        /// With `Failed`, and with `Queued` after an attempt: what ended the attempt. A vanished worker is `transient`.
        failure: Option<FailureKind>,
    },
    /// An evaluation's status has changed, or only the reason why it is `Waiting`. With `Completed`, what its entry points made is to be
    /// published in the same transaction.
    EvaluationMoved {
        /// The evaluation.
        evaluation: EvaluationId,
        /// Its status from now on.
        status: EvaluationStatus,
        /// With `Waiting`: why.
        waiting: Option<EvaluationWait>,
        /// With `Failed`: what ended its fetch or evaluate job for good, when that is the reason.
        failure: Option<FailureKind>,
    },
}
