//! The production scheduler, driven by a simulated world: what it decides is done at once, and takes as long as the trace says.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gradient_domain::{
    BuildId, Epoch, EvaluationId, EvaluationStatus, FailureKind, Id, Job, JobKind, OrganizationId, Priority, WorkerId,
};
use gradient_scheduler::{
    BuildState, Decision, Event, NewBuild, NewEvaluation, Scheduler, SchedulerSettings, Stage, Tick, WorkerCapabilities,
    WorkerOrganization,
};
use uuid::{Builder, Uuid};

use super::idle::Idle;
use super::trace::Trace;
use super::transfers::Transfers;

/// What came of it; times are in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) makespan: u64,
    /// From an evaluation's coming to its end.
    pub(super) flow: Vec<u64>,
    /// The part of the time of slots that could be used in which they were.
    pub(super) conservation: f64,
    /// When each build began for the first time.
    pub(super) began: Vec<u64>,
    /// The bytes that machines fetched.
    pub(super) fetched: u64,
}

/// Whether the scheduler is told how large outputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sizes {
    Told,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Comes(usize),
    Ends { build: usize, epoch: Epoch, worker: usize },
}

/// One machine: builds on its slots, and those that wait there for one.
struct Machine {
    group: usize,
    free: u32,
    waiting: VecDeque<(usize, Epoch)>,
}

struct Simulation<'a> {
    trace: &'a Trace<'a>,
    expected: &'a [Duration],
    scheduler: Scheduler,
    happenings: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    count: u64,
    done: Vec<bool>,
    /// The attempts that each build has had.
    attempts: Vec<usize>,
    machines: Vec<Machine>,
    idle: Idle<'a>,
    sizes: Sizes,
    transfers: Transfers,
    outcome: Outcome,
    /// All that the scheduler was told, if that is wanted.
    journal: Option<Journal>,
}

/// What a scheduler was told, and when.
pub(super) type Journal = Vec<(Tick, Vec<Event>)>;

/// Lets the production scheduler do all of a trace's builds, with these estimates.
pub(super) fn run(trace: &Trace<'_>, expected: &[Duration]) -> Result<Outcome> {
    run_with(trace, expected, Sizes::Told)
}

/// The same, where outputs may be of unknown sizes.
pub(super) fn run_with(trace: &Trace<'_>, expected: &[Duration], sizes: Sizes) -> Result<Outcome> {
    let mut simulation = Simulation::new(trace, expected, None);
    simulation.sizes = sizes;
    simulation.run()?;
    Ok(simulation.outcome)
}

/// What the production scheduler is told until all is done. Told again, it decides the same.
pub(super) fn record(trace: &Trace<'_>, expected: &[Duration]) -> Result<Journal> {
    let mut simulation = Simulation::new(trace, expected, Some(Vec::new()));
    simulation.run()?;
    Ok(simulation.journal.unwrap_or_default())
}

pub(super) fn build_id(number: usize) -> BuildId {
    Id::from_uuid(Uuid::from_u128(number as u128))
}

pub(super) fn organization(number: u128) -> OrganizationId {
    Id::from_uuid(Uuid::from_u128(number))
}

pub(super) fn evaluation_id(number: usize) -> EvaluationId {
    Id::from_uuid(Uuid::from_u128(number as u128))
}

fn worker_id(number: usize) -> Result<WorkerId> {
    Ok(WorkerId::try_from(Builder::from_random_bytes((number as u128).to_be_bytes()).into_uuid())?)
}

/// The number of a worker, from the bytes that say nothing of the version.
fn worker_number(id: WorkerId) -> Result<usize> {
    Ok(usize::try_from(id.uuid().as_u128() & u128::from(u32::MAX))?)
}

pub(super) fn tick(millis: u64) -> Tick {
    Tick::after_start(Duration::from_millis(millis))
}

impl<'a> Simulation<'a> {
    fn new(trace: &'a Trace<'a>, expected: &'a [Duration], journal: Option<Journal>) -> Self {
        Self {
            trace,
            expected,
            scheduler: Scheduler::new(SchedulerSettings::default()),
            happenings: BinaryHeap::new(),
            count: 0,
            done: vec![false; trace.took.len()],
            attempts: vec![0; trace.took.len()],
            machines: Vec::new(),
            idle: Idle::new(trace),
            sizes: Sizes::Told,
            transfers: Transfers::new(),
            outcome: Outcome { flow: vec![0; trace.evaluations.len()], began: vec![0; trace.took.len()], ..Outcome::default() },
            journal,
        }
    }

    fn run(&mut self) -> Result<()> {
        self.connect()?;
        for (at, evaluation) in self.trace.evaluations.iter().enumerate() {
            self.later(evaluation.at, Happening::Comes(at));
        }
        self.go_on()?;
        ensure!(self.done.iter().all(|done| *done), "builds are left over");
        self.outcome.conservation = self.idle.conservation();
        self.outcome.fetched = self.transfers.bytes;
        Ok(())
    }

    fn connect(&mut self) -> Result<()> {
        let organizations: BTreeSet<u128> = self.trace.evaluations.iter().map(|evaluation| evaluation.organization).collect();
        let organizations: Vec<OrganizationId> = organizations.into_iter().map(organization).collect();
        let mut events: Vec<Event> =
            organizations.iter().map(|&organization| Event::CachesChanged { organization, writable: true }).collect();
        let serves = |&organization: &OrganizationId| WorkerOrganization { organization, kinds: JobKind::ALL.to_vec() };
        for (group, machines) in self.trace.fleet.iter().enumerate() {
            for _ in 0..machines.count {
                events.push(Event::WorkerConnected {
                    worker: worker_id(self.machines.len())?,
                    organizations: organizations.iter().map(serves).collect(),
                    capabilities: WorkerCapabilities {
                        systems: machines.systems.clone(),
                        features: machines.features.clone(),
                        build_slots: machines.slots,
                    },
                    running: Vec::new(),
                });
                self.machines.push(Machine { group, free: machines.slots, waiting: VecDeque::new() });
            }
        }
        if let Some(journal) = &mut self.journal {
            journal.push((Tick::ZERO, events.clone()));
        }
        self.scheduler.apply_all(events, Tick::ZERO);
        Ok(())
    }

    fn later(&mut self, at: u64, happening: Happening) {
        self.count += 1;
        self.happenings.push(Reverse((at, self.count, happening)));
    }

    fn go_on(&mut self) -> Result<()> {
        let mut events = Vec::new();
        loop {
            let next = self.happenings.peek().map(|Reverse((at, ..))| *at);
            let deadline = self.scheduler.next_deadline().map(|at| u64::try_from(at.since_start().as_millis())).transpose()?;
            let Some(now) = next.into_iter().chain(deadline).min() else { return Ok(()) };
            self.idle.pass_to(now);
            while let Some(&Reverse((at, _, happening))) = self.happenings.peek()
                && at == now
            {
                self.happenings.pop();
                self.happen(happening, now, &mut events)?;
            }
            if events.is_empty() {
                events.push(Event::Tick);
            }
            if let Some(journal) = &mut self.journal {
                journal.push((tick(now), events.clone()));
            }
            let decisions = self.scheduler.apply_all(events.drain(..), tick(now));
            for decision in decisions {
                self.obey(&decision, now)?;
            }
        }
    }

    fn happen(&mut self, happening: Happening, now: u64, events: &mut Vec<Event>) -> Result<()> {
        match happening {
            Happening::Comes(at) => self.come(at, events),
            Happening::Ends { build, epoch, worker } => {
                let (job, by) = (Job::Build(build_id(build)), worker_id(worker)?);
                self.idle.free(self.machines[worker].group);
                self.machines[worker].free += 1;
                if self.attempts[build] <= self.trace.failures.get(&build).map_or(0, Vec::len) {
                    events.push(Event::JobFailed { job, epoch, worker: by, kind: FailureKind::Transient });
                } else {
                    self.done[build] = true;
                    self.idle.complete(build);
                    self.transfers.take(worker, build);
                    let bytes = if self.sizes == Sizes::Told { self.trace.sizes[build] } else { 0 };
                    events.push(Event::JobFinished { job, epoch, worker: by, bytes });
                }
                self.begin_next(worker, now);
            }
        }
        Ok(())
    }

    fn come(&mut self, at: usize, events: &mut Vec<Event>) {
        let (evaluation, organization) = (evaluation_id(at), organization(self.trace.evaluations[at].organization));
        let builds = &self.trace.evaluations[at].builds;
        let wanted: Vec<usize> = builds.iter().map(|&build| build as usize).filter(|&build| !self.done[build]).collect();
        self.idle.want(&wanted);
        let entry_points = wanted.last().map(|&build| build_id(build)).into_iter().collect();
        events.push(Event::EvaluationAdded(NewEvaluation {
            evaluation,
            organization,
            priority: Priority::default(),
            status: EvaluationStatus::Queued,
            stage: Stage::Build,
            job_epoch: Epoch::NONE,
            lease: None,
        }));
        let builds = wanted.iter().map(|&build| new_build(self.trace, self.expected, organization, build)).collect();
        events.push(Event::BuildsAdded { evaluation, builds });
        events.push(Event::EntryPointsAdded { evaluation, builds: entry_points });
        events.push(Event::EvaluationSealed { evaluation, had_errors: false });
    }

    fn obey(&mut self, decision: &Decision, now: u64) -> Result<()> {
        match *decision {
            Decision::Assign { job: Job::Build(id), epoch, worker } => {
                let (build, worker) = (usize::try_from(id.uuid().as_u128())?, worker_number(worker)?);
                self.machines[worker].waiting.push_back((build, epoch));
                self.begin_next(worker, now);
            }
            Decision::EvaluationMoved { evaluation, status, .. } if status.is_final() => {
                ensure!(status == EvaluationStatus::Completed, "an evaluation ended as {status}");
                let at = usize::try_from(evaluation.uuid().as_u128())?;
                let flow = self.outcome.flow.get_mut(at).context("an unknown evaluation ended")?;
                *flow = now - self.trace.evaluations[at].at;
                self.outcome.makespan = self.outcome.makespan.max(now);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Simulation<'_> {
    /// A machine begins with what waits for its slots.
    fn begin_next(&mut self, worker: usize, now: u64) {
        let machine = &mut self.machines[worker];
        if machine.free == 0 {
            return;
        }
        let Some((build, epoch)) = machine.waiting.pop_front() else { return };
        machine.free -= 1;
        let group = machine.group;
        let failing = self.trace.failures.get(&build).and_then(|attempts| attempts.get(self.attempts[build])).copied();
        self.later(now + failing.unwrap_or(self.trace.took[build]), Happening::Ends { build, epoch, worker });
        self.idle.begin(build, group, self.attempts[build] > 0);
        self.transfers.begin(self.trace, build, worker);
        if self.attempts[build] == 0 {
            self.outcome.began[build] = now;
        }
        self.attempts[build] += 1;
    }
}

/// The build as an evaluation reports it.
pub(super) fn new_build(trace: &Trace<'_>, expected: &[Duration], organization: OrganizationId, build: usize) -> NewBuild {
    let need = trace.shape.need(build);
    NewBuild {
        build: build_id(build),
        organization,
        system: need.system.clone(),
        features: need.features.clone(),
        dependencies: trace.shape.builds[build].dependencies.iter().map(|&dependency| build_id(dependency as usize)).collect(),
        expected: expected[build],
        state: BuildState::Queued { epoch: Epoch::NONE },
    }
}
