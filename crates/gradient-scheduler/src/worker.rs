//! A worker: connected, or gone with jobs that are still its own.

use std::collections::{BTreeMap, BTreeSet};

use gradient_domain::{Epoch, Job, JobKind, OrganizationId, Shortage};

use crate::{
    Tick, WorkerCapabilities, WorkerOrganization,
    class::{ClassSlot, Need, Requirement},
    holdings::{Holding, Holdings},
    node::{Millis, NodeSlot},
    profile::ProfileSlot,
};

/// The system of builds that Nix does itself, on any machine.
const BUILTIN: &str = "builtin";

/// What a worker has to build may take so long for each of its slots, in milliseconds, when it is given more than it has slots for.
const AHEAD_MILLIS: u64 = 1000;
/// And it may be so many builds for each slot.
const AHEAD_BUILDS: u32 = 8;

#[derive(Debug, Default)]
pub(crate) struct Worker {
    pub(crate) session: Option<Session>,
    /// What it owns.
    pub(crate) jobs: Holdings,
    /// What it was told to stop, and may not have stopped yet: until it says so, or until this time, the slot is not free.
    pub(crate) stopping: BTreeMap<(Job, Epoch), Tick>,
    /// The classes whose jobs it fits.
    pub(crate) classes: BTreeSet<ClassSlot>,
    /// The workers that can do the same; none without a session.
    pub(crate) profile: Option<ProfileSlot>,
    /// The build slots with which the classes count it.
    pub(crate) slots: u32,
    /// The free slots with which the scheduler has it listed.
    pub(crate) listed: [u32; JobKind::ALL.len()],
    used: [u32; JobKind::ALL.len()],
    delivering: u32,
    /// What the builds that count in `used` are expected to take, in milliseconds.
    work: u64,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) organizations: Vec<WorkerOrganization>,
    pub(crate) capabilities: WorkerCapabilities,
    pub(crate) draining: bool,
    pub(crate) shortage: Option<Shortage>,
    pub(crate) connected_at: Tick,
}

impl Worker {
    /// How many more jobs of this kind it takes.
    pub(crate) fn free(&self, kind: JobKind) -> u32 {
        self.slots_for(kind).saturating_sub(self.used[kind as usize])
    }

    /// How many jobs of this kind it runs at the same time; none while it is given nothing.
    pub(crate) fn slots_for(&self, kind: JobKind) -> u32 {
        self.session.as_ref().filter(|session| session.takes_work()).map_or(0, |session| match kind {
            JobKind::Fetch | JobKind::Evaluate => 1,
            JobKind::Build => session.capabilities.build_slots,
        })
    }

    /// Whether it takes a build that is expected to run so long although it has no free slot: what it has is done in moments, and then it
    /// need not wait for the next. Its machine has a queue, and fetches the inputs meanwhile.
    pub(crate) fn takes_ahead(&self, expected: Millis) -> bool {
        let (slots, used) = (self.slots_for(JobKind::Build), self.used[JobKind::Build as usize]);
        self.stopping.is_empty()
            && (slots..slots.saturating_mul(AHEAD_BUILDS)).contains(&used)
            && self.work + u64::from(expected.get()) <= u64::from(slots) * AHEAD_MILLIS
    }

    pub(crate) fn hold(&mut self, job: Job, node: NodeSlot, expected: Millis) {
        self.used[job.kind() as usize] += 1;
        self.work += u64::from(expected.get());
        self.jobs.insert(job, Holding::new(node, expected));
    }

    /// Nothing is left of the job but the way of its outputs. As many as it has slots may be on their way beside those that run: a
    /// worker that builds faster than it delivers is not given ever more.
    pub(crate) fn deliver(&mut self, job: Job) {
        let slots = self.session.as_ref().map_or(0, |session| session.capabilities.build_slots);
        if self.delivering < slots
            && let Some(holding) = self.jobs.get_mut(job).filter(|holding| !holding.delivering)
        {
            holding.delivering = true;
            self.delivering += 1;
            self.work -= u64::from(holding.expected.get());
            self.used[job.kind() as usize] -= 1;
        }
    }

    pub(crate) fn release(&mut self, job: Job) {
        match self.jobs.remove(job) {
            Some(Holding { delivering: true, .. }) => self.delivering -= 1,
            Some(Holding { expected, .. }) => {
                self.used[job.kind() as usize] -= 1;
                self.work -= u64::from(expected.get());
            }
            None => {}
        }
    }

    pub(crate) fn stop(&mut self, job: Job, epoch: Epoch, until: Tick) {
        if self.stopping.insert((job, epoch), until).is_none() {
            self.used[job.kind() as usize] += 1;
        }
    }

    /// The job is not running there any more; until when it was waited for.
    pub(crate) fn stopped(&mut self, job: Job, epoch: Epoch) -> Option<Tick> {
        let until = self.stopping.remove(&(job, epoch))?;
        self.used[job.kind() as usize] -= 1;
        Some(until)
    }

    /// Whether it takes jobs like this now or when a slot is free.
    pub(crate) fn fits(&self, requirement: &Requirement) -> bool {
        self.session.as_ref().is_some_and(|session| session.takes_work() && session.fits(requirement))
    }

    pub(crate) fn works_for(&self, organization: OrganizationId) -> bool {
        self.session.as_ref().is_some_and(|session| session.works_for(organization))
    }
}

impl Session {
    /// Whether it is given anything new.
    pub(crate) const fn takes_work(&self) -> bool {
        !self.draining && self.shortage.is_none()
    }

    /// Whether the machine could do it; who is excluded is not looked at.
    pub(crate) fn fits(&self, requirement: &Requirement) -> bool {
        fits(&self.organizations, &self.capabilities, requirement)
    }

    fn works_for(&self, organization: OrganizationId) -> bool {
        self.organizations.iter().any(|peer| peer.organization == organization)
    }
}

/// Whether a machine that works for these organizations can do what is required.
pub(crate) fn fits(organizations: &[WorkerOrganization], capabilities: &WorkerCapabilities, requirement: &Requirement) -> bool {
    let kind = requirement.need.kind();
    let serves = |peer: &WorkerOrganization| peer.organization == requirement.organization && peer.kinds.contains(&kind);
    organizations.iter().any(serves)
        && match &requirement.need {
            Need::Fetch | Need::Evaluate => true,
            Need::Build { system, features } => {
                capabilities.build_slots > 0
                    && (system == BUILTIN || capabilities.systems.contains(system))
                    && features.iter().all(|feature| capabilities.features.contains(feature))
            }
        }
}
