//! Builds that begin before what they need is durable: on the worker that has just made it, and only in a slot that nothing else could
//! use.
//!
//! Such a build is `Running` although it is blocked, and each of its dependencies that has not ended is held by the same worker. When
//! one of them is not brought to a good end there, the build is recalled: what it was built with will be made anew.

use gradient_domain::{BuildStatus, Epoch, FailureKind, Job, JobKind};

use super::{Scheduler, builds::Why, jobs::Retry};
use crate::{
    node::{NodeSlot, Phase, Urgency},
    workers::Machine,
};

/// How many dependents of what a worker has made are looked at.
const LOOKS_MAX: usize = 4096;

impl Scheduler {
    /// Gives a worker's slots that are still free to builds that need only what it has made itself beside what is durable.
    pub(super) fn begin_early(&mut self, machine: Machine) {
        let Some(worker) = self.workers.get(machine) else { return };
        let free = worker.free(JobKind::Build) as usize;
        if free == 0 {
            return;
        }
        let usable = worker.jobs.iter().filter(|(_, holding)| holding.usable);
        let made: Vec<NodeSlot> = usable.map(|(_, holding)| holding.node).collect();
        if made.is_empty() {
            return;
        }
        let dependents = made.iter().flat_map(|&slot| &self.nodes[slot].dependents).take(LOOKS_MAX);
        let mut urgent: Vec<_> = dependents
            .filter(|&&slot| self.may_begin_early(slot, machine, &made))
            .map(|&slot| self.nodes[slot].urgency(slot))
            .collect();
        urgent.sort_unstable();
        urgent.dedup();
        for Urgency { node: slot, .. } in urgent.into_iter().take(free) {
            // What has ended may leave memory before a build that nobody needs any more and that runs on.
            let dependencies = self.nodes[slot].dependencies().iter().copied();
            self.nodes[slot].waits_for = dependencies.filter(|&dependency| !self.nodes[dependency].is_ended()).collect();
            self.assign(slot, machine);
        }
    }

    fn may_begin_early(&self, slot: NodeSlot, machine: Machine, made: &[NodeSlot]) -> bool {
        let node = &self.nodes[slot];
        // What was tried before, and may have been recalled, waits like everything else.
        node.phase == Phase::Blocked
            && node.blocked as usize <= made.len()
            && node.epoch == Epoch::NONE
            && !node.evaluations.is_empty()
            && self.classes[node.class].workers.contains(&machine)
            && node.dependencies().iter().all(|dependency| made.contains(dependency) || self.nodes[*dependency].is_success())
    }

    /// An attempt at a build has ended without its outputs: what began with them on the same worker is worth nothing.
    pub(super) fn recall_dependents(&mut self, slot: NodeSlot) {
        // It goes on waiting for this one, so the list stays.
        for dependent in self.nodes[slot].dependents.clone() {
            if self.nodes[dependent].is_running() {
                self.cancel(dependent);
                self.fail_attempt(dependent, FailureKind::InputsMissing, Retry::AtOnce);
            }
        }
    }

    /// Takes a build that needs what will never be there away from its worker.
    pub(super) fn recall(&mut self, slot: NodeSlot) {
        let node = &self.nodes[slot];
        if let (Phase::Running { .. }, Job::Build(id)) = (node.phase, node.job) {
            let why = Why { cause: None, failure: Some(FailureKind::InputsMissing) };
            self.decide_build(id, BuildStatus::Queued, node.epoch, why);
            self.cancel(slot);
            self.set_phase(slot, Phase::Blocked);
        }
    }
}
