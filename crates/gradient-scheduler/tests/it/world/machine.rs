//! The machines that workers run on.

use std::collections::BTreeMap;

use gradient_domain::{Epoch, Job, JobKind, OrganizationId, WorkerId};
use gradient_scheduler::{Tick, WorkerCapabilities, WorkerOrganization};

use super::BuildRow;
use crate::fixture::{organization, worker};

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) id: WorkerId,
    pub(super) organizations: Vec<WorkerOrganization>,
    pub(super) capabilities: WorkerCapabilities,
    pub(super) connected: bool,
    pub(super) draining: bool,
    /// What runs on it, and since when it is told to stop.
    pub(super) jobs: BTreeMap<(Job, Epoch), Option<Tick>>,
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
        Self { id, organizations, capabilities, connected: false, draining: false, jobs: BTreeMap::new() }
    }

    pub(super) fn able(n: u128) -> Self {
        let mut machine = Self { id: worker(n), ..Self::new(1) };
        machine.organizations[1].kinds = JobKind::ALL.to_vec();
        machine
    }

    pub(super) fn free(&self, kind: JobKind) -> usize {
        let slots = if kind == JobKind::Build { self.capabilities.build_slots as usize } else { 1 };
        slots.saturating_sub(self.jobs.keys().filter(|(job, _)| job.kind() == kind).count())
    }

    pub(super) fn is_open(&self) -> bool {
        self.connected && !self.draining
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
