//! The state machine: its state, and which event goes where.

mod builds;
mod dispatch;
mod early;
mod estimate;
mod evaluations;
mod explain;
mod jobs;
mod phase;
mod profiles;
mod rank;
mod sessions;
mod status;
mod turn;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gradient_domain::{Epoch, EvaluationId, EvaluationStatus, Job, OrganizationId};

use crate::{
    Census, Decision, Event, SchedulerSettings, Tick,
    class::{ClassSlot, Classes},
    evaluation::{Evaluation, EvaluationSlot},
    node::{Node, NodeSlot, Phase},
    profile::Profiles,
    share::Share,
    slab::Slab,
    workers::{Machine, Workers},
};

/// The build graph of all unfinished evaluations, the workers, and who owns which job.
///
/// The same events at the same times lead to the same decisions: hash maps are only looked up in, never walked.
#[derive(Debug)]
pub struct Scheduler {
    settings: SchedulerSettings,
    now: Tick,
    nodes: Slab<Node>,
    node_of: HashMap<Job, NodeSlot>,
    /// Counts the nodes ever made.
    sequence: u64,
    /// New builds, with their sequence numbers, whose dependencies do not know yet that they wait.
    unranked: Vec<(u64, NodeSlot)>,
    evaluations: Slab<Evaluation>,
    evaluation_of: HashMap<EvaluationId, EvaluationSlot>,
    classes: Classes,
    workers: Workers,
    profiles: Profiles,
    organizations: BTreeMap<OrganizationId, Organization>,
    timers: BTreeSet<(Tick, Timer)>,
    /// Classes that got a ready job since the last dispatch.
    roused: BTreeSet<ClassSlot>,
    /// Workers that got a free slot since the last dispatch.
    freed: BTreeSet<Machine>,
    /// Evaluations whose status may have changed.
    touched: BTreeSet<EvaluationSlot>,
    decisions: Vec<Decision>,
}

/// What is to happen at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The job may run again.
    Retry(NodeSlot),
    /// The job's owner has been away for too long.
    Lease(NodeSlot),
    /// The worker had long enough to stop the job.
    Stopped(Machine, Job, Epoch),
}

#[derive(Debug, Default)]
struct Organization {
    share: Share,
    /// Whether a cache takes its outputs.
    writable: bool,
}

impl Scheduler {
    /// A scheduler that knows of nothing yet.
    pub fn new(settings: SchedulerSettings) -> Self {
        Self {
            settings,
            now: Tick::ZERO,
            nodes: Slab::new(),
            node_of: HashMap::new(),
            sequence: 0,
            unranked: Vec::new(),
            evaluations: Slab::new(),
            evaluation_of: HashMap::new(),
            classes: Classes::new(),
            workers: Workers::default(),
            profiles: Profiles::new(),
            organizations: BTreeMap::new(),
            timers: BTreeSet::new(),
            roused: BTreeSet::new(),
            freed: BTreeSet::new(),
            touched: BTreeSet::new(),
            decisions: Vec::new(),
        }
    }

    /// Takes in one event and says what follows from it.
    pub fn apply(&mut self, event: Event, now: Tick) -> Vec<Decision> {
        self.apply_all([event], now)
    }

    /// Takes in events that belong together, such as all that a restart restores, and assigns work and moves evaluations once,
    /// after the last.
    pub fn apply_all(&mut self, events: impl IntoIterator<Item = Event>, now: Tick) -> Vec<Decision> {
        self.now = now;
        for event in events {
            self.take_in(event);
        }
        // After the events: a report or a reconnect that comes with the deadline still counts.
        self.run_timers();
        self.dispatch();
        self.move_evaluations();
        // The list stays as long as it ever was, instead of growing anew each time.
        self.decisions.drain(..).collect()
    }

    /// When [`Event::Tick`] is due, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// How many jobs are resident: those of unfinished evaluations, and builds that run on after theirs were aborted.
    pub const fn job_count(&self) -> usize {
        self.nodes.len()
    }

    /// How much there is to do; looks at every job.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for (_, evaluation) in self.evaluations.iter() {
            census.evaluations += 1;
            census.waiting_evaluations += u32::from(evaluation.status == EvaluationStatus::Waiting);
        }
        for (_, node) in self.nodes.iter() {
            let is_build = matches!(node.job, Job::Build(_));
            let count = match (node.phase, is_build) {
                (Phase::Blocked, _) => &mut census.blocked_builds,
                (Phase::Ready | Phase::Delayed { .. }, true) => &mut census.ready_builds,
                (Phase::Ready | Phase::Delayed { .. }, false) => &mut census.ready_evaluation_jobs,
                (Phase::Running { .. }, true) => &mut census.running_builds,
                (Phase::Running { .. }, false) => &mut census.running_evaluation_jobs,
                (Phase::Ended { .. }, _) => continue,
            };
            *count += 1;
        }
        census
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::EvaluationAdded(evaluation) => self.add_evaluation(&evaluation),
            Event::BuildsAdded { evaluation, builds } => self.add_builds(evaluation, builds),
            Event::EntryPointsAdded { evaluation, builds } => self.add_entry_points(evaluation, &builds),
            Event::EvaluationSealed { evaluation, had_errors } => self.seal_evaluation(evaluation, had_errors),
            Event::AbortEvaluation { evaluation, stop_running } => self.abort_evaluation(evaluation, stop_running),
            Event::WorkerConnected { worker, organizations, capabilities, running } => {
                self.connect(worker, organizations, capabilities, running);
            }
            Event::WorkerChanged { worker, organizations, capabilities } => {
                self.change_worker(worker, organizations, capabilities);
            }
            Event::WorkerDraining { worker } => self.drain(worker),
            Event::WorkerShort { worker, shortage } => self.run_short(worker, shortage),
            Event::WorkerLost { worker } => self.lose(worker),
            Event::JobStarted { job, epoch, worker } => self.start_job(job, epoch, worker),
            Event::BuilderEnded { job, epoch, worker, usable } => self.end_builder(job, epoch, worker, usable),
            Event::JobFinished { job, epoch, worker, bytes } => self.finish_job(job, epoch, worker, bytes),
            Event::JobFailed { job, epoch, worker, kind } => self.fail_job(job, epoch, worker, kind),
            Event::JobStopped { job, epoch, worker } => {
                if let Some(machine) = self.workers.find(worker) {
                    self.stopped(machine, job, epoch);
                }
            }
            Event::CachesChanged { organization, writable } => {
                self.organizations.entry(organization).or_default().writable = writable;
                self.touch_all();
            }
            Event::ShareChanged { organization, weight } => {
                self.organizations.entry(organization).or_default().share.set_weight(weight);
            }
            Event::Tick => {}
        }
    }
}
