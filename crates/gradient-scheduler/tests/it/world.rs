//! A database, machines and a clock around a scheduler, which check each of its decisions.

mod checks;
mod machine;
mod obedience;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gradient_domain::{
    BuildId, BuildStatus, Epoch, EvaluationId, EvaluationStatus, EvaluationWait, FailureKind, Job, OrganizationId, Priority,
    Shortage, WorkerId,
};
use gradient_scheduler::{Decision, Event, Scheduler, SchedulerSettings, Stage, Tick};

use self::machine::Machine;
use crate::fixture::{build, evaluation, organization, seconds};

pub(crate) const ORGANIZATIONS: usize = 2;
const LEASE_SECS: u64 = 300;

/// A derivation that organizations may want built: which earlier ones it needs, as bits, and what it asks of a machine.
pub(crate) type Derivation = (u16, u8);

#[derive(Debug)]
struct BuildRow {
    organization: OrganizationId,
    system: &'static str,
    features: Vec<String>,
    dependencies: Vec<BuildId>,
    expected: Duration,
    status: BuildStatus,
    epoch: Epoch,
    owner: Option<WorkerId>,
}

#[derive(Debug)]
struct EvaluationRow {
    organization: OrganizationId,
    priority: Priority,
    status: EvaluationStatus,
    waiting: Option<EvaluationWait>,
    stage: Stage,
    epoch: Epoch,
    owner: Option<WorkerId>,
    /// The derivations it finds, dependencies first.
    closure: Vec<usize>,
    root: usize,
    /// How many of them it has found.
    found: usize,
    /// The builds it needs, and what they depend on, dependencies first.
    members: Vec<BuildId>,
    entry_point: Option<BuildId>,
    sealed: bool,
}

pub(crate) struct World {
    scheduler: Scheduler,
    now: Tick,
    derivations: Vec<Derivation>,
    builds: BTreeMap<BuildId, BuildRow>,
    newest: BTreeMap<(usize, usize), BuildId>,
    evaluations: BTreeMap<EvaluationId, EvaluationRow>,
    machines: Vec<Machine>,
    unfit: BTreeSet<(BuildId, WorkerId)>,
    reports: Vec<Event>,
    pub(crate) log: Vec<Decision>,
}

fn settings() -> SchedulerSettings {
    SchedulerSettings { lease: seconds(LEASE_SECS), ..SchedulerSettings::default() }
}

impl World {
    pub(crate) fn new(derivations: Vec<Derivation>) -> Self {
        let mut world = Self {
            scheduler: Scheduler::new(settings()),
            now: Tick::ZERO,
            derivations,
            builds: BTreeMap::new(),
            newest: BTreeMap::new(),
            evaluations: BTreeMap::new(),
            machines: (0..3).map(Machine::new).collect(),
            unfit: BTreeSet::new(),
            reports: Vec::new(),
            log: Vec::new(),
        };
        for n in 0..ORGANIZATIONS {
            world.apply([Event::CachesChanged { organization: organization(n as u128), writable: n == 0 }]);
        }
        world
    }

    pub(crate) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> usize {
        let decisions = self.scheduler.apply_all(events, self.now);
        let count = decisions.len();
        for decision in &decisions {
            self.obey(decision);
        }
        self.log.extend(decisions);
        self.check();
        count
    }

    pub(crate) fn request(&mut self, owner: usize, root: usize, priority: i32) {
        let mut wanted = BTreeSet::from([root % self.derivations.len()]);
        for n in (0..self.derivations.len()).rev().filter(|n| *n <= root % self.derivations.len()) {
            if wanted.contains(&n) {
                wanted.extend((0..n).filter(|dependency| self.derivations[n].0 & (1 << dependency) != 0));
            }
        }
        let id = evaluation(self.evaluations.len() as u128);
        let row = EvaluationRow {
            organization: organization(owner as u128),
            priority: Priority::try_from(priority).unwrap(),
            status: EvaluationStatus::Queued,
            waiting: None,
            stage: Stage::Fetch,
            epoch: Epoch::NONE,
            owner: None,
            closure: wanted.into_iter().collect(),
            root: root % self.derivations.len(),
            found: 0,
            members: Vec::new(),
            entry_point: None,
            sealed: false,
        };
        let event = Event::EvaluationAdded(row.event(id));
        self.evaluations.insert(id, row);
        self.apply([event]);
    }

    /// The evaluator of one running evaluation finds up to `count` more derivations, and with the last is done.
    pub(crate) fn evaluate(&mut self, (job, epoch, by): (Job, Epoch, WorkerId), count: usize) {
        let Job::Evaluate(id) = job else { unreachable!("only evaluations are evaluated") };
        let row = &self.evaluations[&id];
        // Rows of an evaluation that has ended come late, if at all.
        let owner = (0..ORGANIZATIONS).find(|&n| organization(n as u128) == row.organization).unwrap();
        let found: Vec<usize> = row.closure.iter().copied().skip(row.found).take(count).collect();
        let known = row.members.len();
        for &n in &found {
            let build = self.find_build(owner, n);
            self.add_member(id, build);
        }
        let row = self.evaluations.get_mut(&id).unwrap();
        row.found += found.len();
        let builds = row.members[known..].iter().map(|id| self.builds[id].event(*id)).collect();
        let mut events = vec![Event::BuildsAdded { evaluation: id, builds }];
        if row.found == row.closure.len() {
            let entry_point = self.newest[&(owner, row.root)];
            row.entry_point = Some(entry_point);
            row.sealed = true;
            row.stage = Stage::Build;
            row.epoch = Epoch::NONE;
            row.owner = None;
            events.push(Event::EntryPointsAdded { evaluation: id, builds: vec![entry_point] });
            events.push(Event::EvaluationSealed { evaluation: id, had_errors: false });
            self.machine(by).jobs.remove(&(job, epoch));
            self.reports.push(Event::JobFinished { job, epoch, worker: by, bytes: 0 });
            events.push(Event::JobFinished { job, epoch, worker: by, bytes: 0 });
        }
        self.apply(events);
    }

    fn add_member(&mut self, id: EvaluationId, build: BuildId) {
        if !self.evaluations[&id].members.contains(&build) {
            for dependency in self.builds[&build].dependencies.clone() {
                self.add_member(id, dependency);
            }
            self.evaluations.get_mut(&id).unwrap().members.push(build);
        }
    }

    /// The organization's newest build of a derivation, made when there is none that can be used.
    fn find_build(&mut self, owner: usize, n: usize) -> BuildId {
        let reusable = |status| !matches!(status, BuildStatus::Aborted | BuildStatus::DependencyFailed);
        if let Some(id) = self.newest.get(&(owner, n)).filter(|id| reusable(self.builds[id].status)) {
            return *id;
        }
        let (dependencies, flavour) = self.derivations[n];
        let dependencies = (0..n).filter(|dependency| dependencies & (1 << dependency) != 0);
        let row = BuildRow {
            organization: organization(owner as u128),
            system: ["x86_64-linux", "x86_64-linux", "aarch64-linux", "builtin"][usize::from(flavour % 4)],
            features: if flavour & 4 == 0 { vec![] } else { vec!["kvm".to_owned()] },
            expected: seconds(u64::from(flavour >> 3)),
            dependencies: dependencies.map(|dependency| self.newest[&(owner, dependency)]).collect(),
            status: BuildStatus::Queued,
            epoch: Epoch::NONE,
            owner: None,
        };
        let id = build(self.builds.len() as u128);
        self.newest.insert((owner, n), id);
        self.builds.insert(id, row);
        id
    }

    /// Everything that runs on machines that are connected, and was not told to stop.
    pub(crate) fn running(&self) -> Vec<(Job, Epoch, WorkerId)> {
        let connected = self.machines.iter().filter(|machine| machine.connected);
        let jobs = connected.flat_map(|machine| machine.jobs.iter().map(|(&(job, epoch), stop)| (job, epoch, machine.id, stop)));
        jobs.filter(|(.., stop)| stop.is_none()).map(|(job, epoch, id, _)| (job, epoch, id)).collect()
    }

    /// Whether the end of a job can be told: not before what it was built with is durable.
    fn can_finish(&self, (job, ..): (Job, Epoch, WorkerId)) -> bool {
        let Job::Build(id) = job else { return true };
        self.builds[&id].dependencies.iter().all(|id| self.builds[id].status.is_success())
    }

    pub(crate) fn finish(&mut self, (job, epoch, by): (Job, Epoch, WorkerId)) {
        if !self.can_finish((job, epoch, by)) {
            return;
        }
        match job {
            Job::Build(id) => {
                let row = self.builds.get_mut(&id).unwrap();
                assert_eq!((row.status, row.epoch, row.owner), (BuildStatus::Building, epoch, Some(by)));
                row.status = BuildStatus::Completed;
                row.owner = None;
            }
            Job::Fetch(id) => {
                let row = self.evaluations.get_mut(&id).unwrap();
                (row.stage, row.epoch, row.owner) = (Stage::Evaluate, Epoch::NONE, None);
            }
            Job::Evaluate(_) => return self.evaluate((job, epoch, by), usize::MAX),
        }
        let bytes = u64::from(epoch.0) << 24;
        self.report(Event::JobFinished { job, epoch, worker: by, bytes });
    }

    /// The builder of a build has ended; its outputs are on their way.
    pub(crate) fn deliver(&mut self, (job, epoch, by): (Job, Epoch, WorkerId), usable: bool) {
        if matches!(job, Job::Build(_)) {
            self.machine(by).deliver((job, epoch), usable);
            self.apply([Event::BuilderEnded { job, epoch, worker: by, usable }]);
        }
    }

    pub(crate) fn fail(&mut self, (job, epoch, by): (Job, Epoch, WorkerId), kind: FailureKind) {
        if let (Job::Build(id), FailureKind::WorkerUnfit) = (job, kind) {
            self.unfit.insert((id, by));
        }
        self.report(Event::JobFailed { job, epoch, worker: by, kind });
    }

    fn report(&mut self, event: Event) {
        if let Event::JobFinished { job, epoch, worker, .. } | Event::JobFailed { job, epoch, worker, .. } = event {
            self.machine(worker).jobs.remove(&(job, epoch));
            if let Job::Fetch(id) | Job::Evaluate(id) = job
                && let Some(row) = self.evaluations.get_mut(&id).filter(|row| row.epoch == epoch)
            {
                row.owner = None;
            }
        }
        self.reports.push(event.clone());
        self.apply([event]);
    }

    /// A machine says that it has stopped one of the jobs that it was told to stop.
    pub(crate) fn stop_one(&mut self, pick: usize) {
        let connected = self.machines.iter().filter(|machine| machine.connected);
        let stopping: Vec<_> = connected
            .flat_map(|machine| machine.jobs.iter().filter(|(_, stop)| stop.is_some()).map(|(&job, _)| (machine.id, job)))
            .collect();
        if let Some(&(worker, (job, epoch))) = stopping.get(pick % stopping.len().max(1)) {
            self.report(Event::JobFailed { job, epoch, worker, kind: FailureKind::Aborted });
        }
    }

    /// A report comes again, long after its time.
    pub(crate) fn repeat(&mut self, pick: usize) {
        if let Some(event) = self.reports.get(pick % self.reports.len().max(1)).cloned() {
            assert_eq!(self.apply([event]), 0, "a doubled report changes nothing");
        }
    }

    pub(crate) fn abort(&mut self, pick: usize, stop_running: bool) {
        let id = evaluation((pick % self.evaluations.len().max(1)) as u128);
        self.apply([Event::AbortEvaluation { evaluation: id, stop_running }]);
    }

    pub(crate) fn set_cache(&mut self, n: usize, writable: bool) {
        self.apply([Event::CachesChanged { organization: organization(n as u128), writable }]);
    }

    /// A machine comes, with all of its jobs or with none.
    pub(crate) fn connect(&mut self, pick: usize, forgets: bool) {
        let n = pick % self.machines.len();
        let machine = &mut self.machines[n];
        if forgets {
            machine.jobs.clear();
            machine.delivering.clear();
            machine.usable.clear();
        }
        let running: Vec<(Job, Epoch)> = machine.jobs.keys().copied().collect();
        for stop in machine.jobs.values_mut() {
            *stop = None;
        }
        machine.connected = true;
        machine.draining = false;
        machine.short = false;
        let event = Event::WorkerConnected {
            worker: machine.id,
            organizations: machine.organizations.clone(),
            capabilities: machine.capabilities.clone(),
            running,
        };
        self.apply([event]);
    }

    pub(crate) fn lose(&mut self, pick: usize) {
        let n = pick % self.machines.len();
        self.machines[n].connected = false;
        self.apply([Event::WorkerLost { worker: self.machines[n].id }]);
    }

    pub(crate) fn drain(&mut self, pick: usize) {
        let n = pick % self.machines.len();
        self.machines[n].draining = self.machines[n].connected;
        self.apply([Event::WorkerDraining { worker: self.machines[n].id }]);
    }

    pub(crate) fn run_short(&mut self, pick: usize, of: Option<Shortage>) {
        let n = pick % self.machines.len();
        self.machines[n].short = self.machines[n].connected && of.is_some();
        self.apply([Event::WorkerShort { worker: self.machines[n].id, shortage: of }]);
    }

    pub(crate) fn pass(&mut self, secs: u64) {
        self.now = self.now.plus(seconds(secs));
        let now = self.now;
        for machine in &mut self.machines {
            machine.jobs.retain(|_, stop| stop.is_none_or(|since| since.plus(seconds(LEASE_SECS)) > now));
        }
        self.apply([Event::Tick]);
        assert!(self.scheduler.next_deadline().is_none_or(|at| at > self.now), "what is due is done");
    }

    /// The server dies and comes back; the machines notice.
    pub(crate) fn restart(&mut self) {
        self.scheduler = Scheduler::new(settings());
        // Who is unfit for what is found out anew.
        self.unfit.clear();
        for machine in &mut self.machines {
            machine.connected = false;
            machine.delivering.clear();
            machine.usable.clear();
        }
        let mut events = Vec::new();
        for n in 0..ORGANIZATIONS {
            events.push(Event::CachesChanged { organization: organization(n as u128), writable: true });
        }
        let mut needed = BTreeSet::new();
        for (&id, row) in self.evaluations.iter().filter(|(_, row)| !row.status.is_final()) {
            needed.extend(row.members.iter().copied());
            let builds = row.members.iter().map(|id| self.builds[id].event(*id)).collect();
            events.push(Event::EvaluationAdded(row.event(id)));
            events.push(Event::BuildsAdded { evaluation: id, builds });
            events.push(Event::EntryPointsAdded { evaluation: id, builds: row.entry_point.into_iter().collect() });
            if row.sealed {
                events.push(Event::EvaluationSealed { evaluation: id, had_errors: false });
            }
        }
        let rest = self.builds.iter().filter(|(id, row)| !needed.contains(id) && !row.status.is_final());
        let builds = rest.map(|(&id, row)| row.event(id)).collect();
        events.push(Event::BuildsAdded { evaluation: evaluation(u128::MAX), builds });
        self.apply(events);
    }

    /// Everything gets well: a machine that can do all comes, caches are there, and all jobs succeed until none is left.
    pub(crate) fn heal(&mut self) {
        for n in 0..ORGANIZATIONS {
            self.set_cache(n, true);
        }
        for n in 0..self.machines.len() {
            self.connect(n, false);
        }
        self.machines.push(Machine::able(9));
        self.connect(3, false);
        for _ in 0..10_000 {
            if let Some(job) = self.running().into_iter().find(|&job| self.can_finish(job)) {
                self.finish(job);
            } else if let Some(at) = self.scheduler.next_deadline() {
                self.pass(at.since(self.now).as_secs() + 1);
            } else {
                break;
            }
        }
        let left: Vec<_> = self.evaluations.values().filter(|row| !row.status.is_final()).collect();
        assert!(left.is_empty(), "every evaluation ends: {left:?}");
        assert!(self.builds.values().all(|row| row.status.is_final()), "every build ends");
        assert_eq!(self.scheduler.job_count(), 0, "what has ended leaves memory");
    }
}
