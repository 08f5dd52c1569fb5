//! The machines that workers run on.

use std::collections::{BTreeMap, BTreeSet};

use gradient_domain::{Epoch, Job, JobKind, OrganizationId, WorkerId};
use gradient_scheduler::{Tick, WorkerCapabilities, WorkerOrganization};

use super::{BuildRow, World};
use crate::fixture::{organization, worker};

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) id: WorkerId,
    pub(super) organizations: Vec<WorkerOrganization>,
    pub(super) capabilities: WorkerCapabilities,
    pub(super) connected: bool,
    pub(super) draining: bool,
    pub(super) short: bool,
    /// What runs on it, and since when it is told to stop.
    pub(super) jobs: BTreeMap<(Job, Epoch), Option<Tick>>,
    /// Those of which only the outputs are on their way.
    pub(super) delivering: BTreeSet<(Job, Epoch)>,
    /// Those whose outputs other builds on it can use.
    pub(super) usable: BTreeSet<(Job, Epoch)>,
}

impl Machine {
    /// Three machines that can do different things for different organizations.
    pub(super) fn new(n: usize) -> Self {
        let all = |n: usize| WorkerOrganization { organization: organization(n as u128), kinds: JobKind::ALL.to_vec() };
        let builds = WorkerOrganization { kinds: vec![JobKind::Build], ..all(1) };
        let (organizations, systems, features, build_slots) = match n {
            0 => (vec![all(0), all(1)], vec!["x86_64-linux"], vec![], 2),
            1 => (vec![all(0), builds], vec!["x86_64-linux", "aarch64-linux"], vec!["kvm"], 1),
            _ => (vec![all(1)], vec!["x86_64-linux"], vec!["kvm", "big-parallel"], 2),
        };
        let strings = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
        let capabilities = WorkerCapabilities { systems: strings(systems), features: strings(features), build_slots };
        let id = worker(n as u128);
        Self {
            id,
            organizations,
            capabilities,
            connected: false,
            draining: false,
            short: false,
            jobs: BTreeMap::new(),
            delivering: BTreeSet::new(),
            usable: BTreeSet::new(),
        }
    }

    pub(super) fn able(n: u128) -> Self {
        let mut machine = Self { id: worker(n), ..Self::new(1) };
        machine.organizations[1].kinds = JobKind::ALL.to_vec();
        machine
    }

    pub(super) fn free(&self, kind: JobKind) -> usize {
        let slots = if kind == JobKind::Build { self.capabilities.build_slots as usize } else { 1 };
        let takes_a_slot = |job: &(Job, Epoch)| job.0.kind() == kind && !self.is_delivering(job);
        slots.saturating_sub(self.jobs.keys().filter(|job| takes_a_slot(job)).count())
    }

    /// One that was told to stop is not known to deliver any more.
    pub(super) fn is_delivering(&self, job: &(Job, Epoch)) -> bool {
        self.delivering.contains(job) && self.jobs.get(job) == Some(&None)
    }

    /// The builder of a build that nobody wants stopped has ended; whether that frees its slot.
    pub(super) fn deliver(&mut self, job: (Job, Epoch), usable: bool) {
        if usable {
            self.usable.insert(job);
        } else {
            self.usable.remove(&job);
        }
        let delivering = self.delivering.iter().filter(|job| self.is_delivering(job)).count();
        if delivering < self.capabilities.build_slots as usize {
            self.delivering.insert(job);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.connected && !self.draining && !self.short
    }

    pub(super) fn serves(&self, organization: OrganizationId, kind: JobKind) -> bool {
        self.organizations.iter().any(|peer| peer.organization == organization && peer.kinds.contains(&kind))
    }

    pub(super) fn fits_build(&self, build: &BuildRow) -> bool {
        let has_system = build.system == "builtin" || self.capabilities.systems.iter().any(|system| system == build.system);
        let has_features = build.features.iter().all(|feature| self.capabilities.features.contains(feature));
        has_system && has_features && self.serves(build.organization, JobKind::Build)
    }
}

impl World {
    pub(super) fn machine(&mut self, id: WorkerId) -> &mut Machine {
        self.machines.iter_mut().find(|machine| machine.id == id).unwrap()
    }
}
