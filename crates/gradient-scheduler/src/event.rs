//! What the scheduler is told.

use std::time::Duration;

use gradient_domain::{
    BuildId, BuildStatus, Epoch, EvaluationId, EvaluationStatus, FailureKind, Job, JobKind, OrganizationId, Priority, Shortage,
    WorkerId,
};

/// Something that has happened, and is durable already where it has to survive a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An evaluation was requested, or is restored from the database.
    EvaluationAdded(NewEvaluation),
    /// Derivations of an evaluation became known. A build comes after the builds that it depends on, in this event or an earlier
    /// one; a dependency that the scheduler does not know counts as built. A build that is known already becomes one of this
    /// evaluation too, together with everything that it depends on; its state then only counts when it has ended.
    ///
    /// When the evaluation is not known, because it has ended, nobody needs the builds: those that are queued are aborted, those
    /// that a worker has may finish. A restart restores what runs on after an aborted evaluation in this way.
    BuildsAdded {
        /// The evaluation that needs them.
        evaluation: EvaluationId,
        /// The builds, dependencies first.
        builds: Vec<NewBuild>,
    },
    /// These builds, added before, decide whether the evaluation succeeds.
    EntryPointsAdded {
        /// The evaluation.
        evaluation: EvaluationId,
        /// Builds of it.
        builds: Vec<BuildId>,
    },
    /// No more builds or entry points will come for the evaluation.
    EvaluationSealed {
        /// The evaluation.
        evaluation: EvaluationId,
        /// Whether some of it did not evaluate, so that it can only end as failed.
        had_errors: bool,
    },
    /// Ends an evaluation before its time, and every build that no other evaluation needs.
    AbortEvaluation {
        /// The evaluation.
        evaluation: EvaluationId,
        /// Whether builds that already run are cancelled too; otherwise they finish and are kept.
        stop_running: bool,
    },
    /// A worker's session begins, or takes the place of an older one.
    WorkerConnected {
        /// The worker.
        worker: WorkerId,
        /// The organizations it works for in this session.
        organizations: Vec<WorkerOrganization>,
        /// What the machine can do.
        capabilities: WorkerCapabilities,
        /// The jobs it still has: running, or finished with a report that is not acknowledged yet. What it had and does not name
        /// is lost and goes to the queue at once, as far as it serves the organization; the rest waits until the lease ends.
        running: Vec<(Job, Epoch)>,
    },
    /// A connected worker can do other things than before, or for others.
    WorkerChanged {
        /// The worker.
        worker: WorkerId,
        /// The organizations it works for from now on.
        organizations: Vec<WorkerOrganization>,
        /// What the machine can do from now on.
        capabilities: WorkerCapabilities,
    },
    /// A connected worker finishes what it has and takes nothing more.
    WorkerDraining {
        /// The worker.
        worker: WorkerId,
    },
    /// A connected worker has too little of something to be given more work, or has enough again.
    WorkerShort {
        /// The worker.
        worker: WorkerId,
        /// Of what; `None` when of nothing.
        shortage: Option<Shortage>,
    },
    /// A worker's session has ended. Its jobs stay with it until their leases end.
    WorkerLost {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker began with its job.
    JobStarted {
        /// The job.
        job: Job,
        /// The assignment.
        epoch: Epoch,
        /// Who reports it.
        worker: WorkerId,
    },
    /// The builder of a build has ended, and its slot is free. The build stays the worker's until its outputs are durable.
    BuilderEnded {
        /// The job.
        job: Job,
        /// The assignment.
        epoch: Epoch,
        /// Who reports it.
        worker: WorkerId,
        /// Whether the outputs are known, so that builds which need them may begin on the same worker before they are durable.
        usable: bool,
    },
    /// A job is done, and what it made is durable.
    JobFinished {
        /// The job.
        job: Job,
        /// The assignment.
        epoch: Epoch,
        /// Who reports it.
        worker: WorkerId,
        /// The bytes of a build's outputs, as NARs: what needs them goes where they are, if it can. 0 when that is not known, and for
        /// other jobs.
        bytes: u64,
    },
    /// A job ended without success.
    JobFailed {
        /// The job.
        job: Job,
        /// The assignment.
        epoch: Epoch,
        /// Who reports it.
        worker: WorkerId,
        /// Why.
        kind: FailureKind,
    },
    /// A worker says of an assignment that is not its own any more that it has ended there: its slot is free.
    JobStopped {
        /// The job.
        job: Job,
        /// The assignment.
        epoch: Epoch,
        /// Who reports it.
        worker: WorkerId,
    },
    /// Whether an organization has a cache to publish to; none until told otherwise. An evaluation with outputs does not complete
    /// without.
    CachesChanged {
        /// The organization.
        organization: OrganizationId,
        /// Whether at least one subscribed cache takes outputs.
        writable: bool,
    },
    /// How much of busy workers an organization gets beside others: 100 until told otherwise.
    ShareChanged {
        /// The organization.
        organization: OrganizationId,
        /// Its weight; 0 counts as 1.
        weight: u32,
    },
    /// Time has passed: the one of [`Scheduler::next_deadline`](crate::Scheduler::next_deadline) has come.
    Tick,
}

/// An evaluation as it is in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvaluation {
    /// The evaluation.
    pub evaluation: EvaluationId,
    /// To whom it belongs.
    pub organization: OrganizationId,
    /// The priority of its project.
    pub priority: Priority,
    /// Its durable status, so that only changes are decided.
    pub status: EvaluationStatus,
    /// What has to be done next for it.
    pub stage: Stage,
    /// The last assignment of that stage's job; [`Epoch::NONE`] before any, and in the stage [`Stage::Build`].
    pub job_epoch: Epoch,
    /// Who has that assignment, when it has not ended.
    pub lease: Option<WorkerId>,
}

/// How far an evaluation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Its source has to be fetched.
    Fetch,
    /// Its flake has to be evaluated.
    Evaluate,
    /// All its derivations are known.
    Build,
}

/// One derivation to build for an evaluation's organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBuild {
    /// The build.
    pub build: BuildId,
    /// To whom it belongs: the organization of every evaluation that needs it.
    pub organization: OrganizationId,
    /// The system it is for; `builtin` fits every worker.
    pub system: String,
    /// The system features that it requires, sorted.
    pub features: Vec<String>,
    /// What has to be built before.
    pub dependencies: Vec<BuildId>,
    /// How long it is expected to run, [`UNKNOWN_DURATION`](crate::UNKNOWN_DURATION) when nothing is known. It decides about the
    /// order only.
    pub expected: Duration,
    /// Where it stands.
    pub state: BuildState,
}

/// Where a build stands in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildState {
    /// Nobody has it.
    Queued {
        /// The last assignment, [`Epoch::NONE`] before any.
        epoch: Epoch,
    },
    /// A worker had it when the server stopped, and has it until its lease ends.
    Leased {
        /// The assignment.
        epoch: Epoch,
        /// The owner.
        worker: WorkerId,
    },
    /// It has ended as this. A status that is not final counts as queued and never assigned.
    Ended(BuildStatus),
}

/// An organization that a worker works for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerOrganization {
    /// The organization.
    pub organization: OrganizationId,
    /// The kinds of jobs that the worker does for it: what the machine can do and the registration allows.
    pub kinds: Vec<JobKind>,
}

/// What a worker's machine can do. Beside its build slots a worker has room for one fetch and one evaluation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct WorkerCapabilities {
    /// The systems it builds for.
    pub systems: Vec<String>,
    /// The system features it has.
    pub features: Vec<String>,
    /// How many builds it runs at the same time.
    pub build_slots: u32,
}
