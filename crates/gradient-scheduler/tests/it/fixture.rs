//! A scheduler with short ways to tell it things, and ids that are numbers.

use std::time::Duration;

use gradient_domain::{
    BuildId, BuildStatus, Epoch, EvaluationId, EvaluationStatus, EvaluationWait, FailureKind, Id, Job, JobKind, Moment,
    OrganizationId, Priority, WorkerId,
};
use gradient_scheduler::{
    BuildState, Decision, Event, NewBuild, NewEvaluation, Scheduler, SchedulerSettings, Stage, Tick, UNKNOWN_DURATION,
    WorkerCapabilities, WorkerOrganization,
};
use uuid::{Builder, Uuid};

pub(crate) const SYSTEM: &str = "x86_64-linux";
pub(crate) const ORGANIZATION: u128 = 1;

pub(crate) fn organization(n: u128) -> OrganizationId {
    Id::from_uuid(Uuid::from_u128(n))
}

pub(crate) fn evaluation(n: u128) -> EvaluationId {
    Id::from_uuid(Uuid::from_u128(n))
}

pub(crate) fn build(n: u128) -> BuildId {
    Id::from_uuid(Uuid::from_u128(n))
}

pub(crate) fn worker(n: u128) -> WorkerId {
    WorkerId::try_from(Builder::from_random_bytes(n.to_be_bytes()).into_uuid()).unwrap()
}

pub(crate) fn build_job(n: u128) -> Job {
    Job::Build(build(n))
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A build of the system and organization of all tests.
pub(crate) fn new_build(n: u128, dependencies: &[u128]) -> NewBuild {
    NewBuild {
        build: build(n),
        organization: organization(ORGANIZATION),
        system: SYSTEM.to_owned(),
        features: Vec::new(),
        dependencies: dependencies.iter().map(|&n| build(n)).collect(),
        expected: UNKNOWN_DURATION,
        state: BuildState::Queued { epoch: Epoch::NONE },
    }
}

pub(crate) fn new_evaluation(n: u128, stage: Stage) -> NewEvaluation {
    NewEvaluation {
        evaluation: evaluation(n),
        organization: organization(ORGANIZATION),
        priority: Priority::default(),
        status: EvaluationStatus::Queued,
        stage,
        job_epoch: Epoch::NONE,
        lease: None,
    }
}

pub(crate) fn serves(n: u128) -> WorkerOrganization {
    WorkerOrganization { organization: organization(n), kinds: JobKind::ALL.to_vec() }
}

pub(crate) fn machine(build_slots: u32) -> WorkerCapabilities {
    WorkerCapabilities { systems: vec![SYSTEM.to_owned()], features: Vec::new(), build_slots }
}

/// What one or several events led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome(pub(crate) Vec<Decision>);

impl Outcome {
    pub(crate) fn assigned(&self) -> Vec<(Job, Epoch, WorkerId)> {
        let assigned = self.0.iter().filter_map(|decision| match *decision {
            Decision::Assign { job, epoch, worker } => Some((job, epoch, worker)),
            _ => None,
        });
        assigned.collect()
    }

    pub(crate) fn assigned_builds(&self) -> Vec<u128> {
        let builds = self.assigned().into_iter().filter_map(|(job, ..)| match job {
            Job::Build(id) => Some(id.uuid().as_u128()),
            _ => None,
        });
        builds.collect()
    }

    pub(crate) fn moved(&self) -> Vec<(u128, BuildStatus)> {
        let moved = self.0.iter().filter_map(|decision| match *decision {
            Decision::BuildMoved { build, status, .. } => Some((build.uuid().as_u128(), status)),
            _ => None,
        });
        moved.collect()
    }

    pub(crate) fn causes(&self) -> Vec<(u128, u128)> {
        let causes = self.0.iter().filter_map(|decision| match *decision {
            Decision::BuildMoved { build, cause: Some(cause), .. } => Some((build.uuid().as_u128(), cause.uuid().as_u128())),
            _ => None,
        });
        causes.collect()
    }

    pub(crate) fn evaluations(&self) -> Vec<(u128, EvaluationStatus)> {
        let moved = self.0.iter().filter_map(|decision| match *decision {
            Decision::EvaluationMoved { evaluation, status, .. } => Some((evaluation.uuid().as_u128(), status)),
            _ => None,
        });
        moved.collect()
    }

    pub(crate) fn waits(&self) -> Vec<EvaluationWait> {
        let waits = self.0.iter().filter_map(|decision| match decision {
            Decision::EvaluationMoved { waiting, .. } => waiting.clone(),
            _ => None,
        });
        waits.collect()
    }

    pub(crate) fn cancelled(&self) -> Vec<(Job, Epoch, WorkerId)> {
        let cancelled = self.0.iter().filter_map(|decision| match *decision {
            Decision::Cancel { job, epoch, worker } => Some((job, epoch, worker)),
            _ => None,
        });
        cancelled.collect()
    }

    pub(crate) fn refused(&self) -> Vec<(Job, Epoch, WorkerId)> {
        let refused = self.0.iter().filter_map(|decision| match *decision {
            Decision::JobRefused { job, epoch, worker } => Some((job, epoch, worker)),
            _ => None,
        });
        refused.collect()
    }
}

/// A scheduler and its clock.
pub(crate) struct Bench {
    pub(crate) scheduler: Scheduler,
    pub(crate) now: Tick,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let mut bench = Self { scheduler: Scheduler::new(SchedulerSettings::default()), now: Tick::ZERO };
        bench.apply(Event::CachesChanged { organization: organization(ORGANIZATION), writable: true });
        bench
    }

    pub(crate) fn apply(&mut self, event: Event) -> Outcome {
        self.all([event])
    }

    pub(crate) fn all(&mut self, events: impl IntoIterator<Item = Event>) -> Outcome {
        Outcome(self.scheduler.apply_all(events, self.now))
    }

    /// Lets time pass and says so.
    pub(crate) fn pass(&mut self, duration: Duration) -> Outcome {
        self.now = self.now.plus(duration);
        self.apply(Event::Tick)
    }

    /// The wall clock, which began an hour before the scheduler's.
    pub(crate) fn moment(&self) -> Moment {
        Moment::from_micros(3_600_000_000).plus(self.now.since_start())
    }

    /// An evaluation whose derivations are all known, with these builds, the last being its entry point.
    pub(crate) fn evaluated(&mut self, n: u128, builds: Vec<NewBuild>) -> Outcome {
        let entry_point = builds.last().map(|last| last.build);
        self.all([
            Event::EvaluationAdded(new_evaluation(n, Stage::Build)),
            Event::BuildsAdded { evaluation: evaluation(n), builds },
            Event::EntryPointsAdded { evaluation: evaluation(n), builds: entry_point.into_iter().collect() },
            Event::EvaluationSealed { evaluation: evaluation(n), had_errors: false },
        ])
    }

    pub(crate) fn connect(&mut self, n: u128, build_slots: u32) -> Outcome {
        self.reconnect(n, build_slots, vec![])
    }

    pub(crate) fn reconnect(&mut self, n: u128, build_slots: u32, running: Vec<(Job, Epoch)>) -> Outcome {
        self.apply(Event::WorkerConnected {
            worker: worker(n),
            organizations: vec![serves(ORGANIZATION)],
            capabilities: machine(build_slots),
            running,
        })
    }

    pub(crate) fn lose(&mut self, n: u128) -> Outcome {
        self.apply(Event::WorkerLost { worker: worker(n) })
    }

    pub(crate) fn finish(&mut self, job: Job, epoch: u32, by: u128) -> Outcome {
        self.apply(Event::JobFinished { job, epoch: Epoch(epoch), worker: worker(by), bytes: 0 })
    }

    pub(crate) fn fail(&mut self, job: Job, epoch: u32, by: u128, kind: FailureKind) -> Outcome {
        self.apply(Event::JobFailed { job, epoch: Epoch(epoch), worker: worker(by), kind })
    }

    pub(crate) fn abort(&mut self, n: u128, stop_running: bool) -> Outcome {
        self.apply(Event::AbortEvaluation { evaluation: evaluation(n), stop_running })
    }
}
