//! Workers come, change and go; their jobs wait for them for a while.

use std::{cmp::Reverse, collections::BTreeSet};

use gradient_domain::{Epoch, FailureKind, Job, Shortage, WorkerId};

use super::{Scheduler, Timer, jobs::Retry};
use crate::{
    Decision, WorkerCapabilities, WorkerOrganization,
    node::{NodeSlot, Phase},
    worker::Session,
    workers::Machine,
};

impl Scheduler {
    pub(super) fn connect(
        &mut self,
        id: WorkerId,
        organizations: Vec<WorkerOrganization>,
        capabilities: WorkerCapabilities,
        running: Vec<(Job, Epoch)>,
    ) {
        let machine = self.workers.number(id);
        self.forget_stopping(machine);
        let worker = self.workers.enter(machine);
        worker.session = Some(Session { organizations, capabilities, draining: false, shortage: None, connected_at: self.now });
        let mut owned: Vec<(Job, NodeSlot)> = worker.jobs.iter().map(|(job, holding)| (job, holding.node)).collect();
        // What began early comes before what it needs: it is not there to be stopped when both are lost.
        owned.sort_unstable_by_key(|&(_, slot)| Reverse(self.nodes[slot].sequence));
        self.refit(machine);

        let mut foreign: BTreeSet<(Job, Epoch)> = running.into_iter().collect();
        for (job, slot) in owned {
            let named = foreign.remove(&(job, self.nodes[slot].epoch));
            if !self.serves(machine, slot) {
                // Anybody can register any id, so this session says nothing about the jobs of organizations that it does not serve:
                // whoever began them may come back. When nobody does in time, they are told to stop and go to the queue.
                self.begin_lease(slot);
            } else if named {
                self.set_lease(slot, None);
            } else {
                self.fail_attempt(slot, FailureKind::Transient, Retry::AtOnce);
            }
        }
        for (job, epoch) in foreign {
            self.stop(machine, job, epoch);
            self.decisions.push(Decision::JobRefused { worker: id, job, epoch });
        }
    }

    fn serves(&self, machine: Machine, slot: NodeSlot) -> bool {
        let organization = self.classes[self.nodes[slot].class].requirement.organization;
        self.workers.get(machine).is_some_and(|worker| worker.works_for(organization))
    }

    pub(super) fn change_worker(
        &mut self,
        id: WorkerId,
        organizations: Vec<WorkerOrganization>,
        capabilities: WorkerCapabilities,
    ) {
        if let Some((machine, session)) = self.session_mut(id) {
            session.organizations = organizations;
            session.capabilities = capabilities;
            self.refit(machine);
        }
    }

    pub(super) fn drain(&mut self, id: WorkerId) {
        if let Some((machine, session)) = self.session_mut(id) {
            session.draining = true;
            self.refit(machine);
        }
    }

    pub(super) fn run_short(&mut self, id: WorkerId, shortage: Option<Shortage>) {
        if let Some((machine, session)) = self.session_mut(id)
            && session.shortage != shortage
        {
            session.shortage = shortage;
            self.refit(machine);
        }
    }

    pub(super) fn lose(&mut self, id: WorkerId) {
        let Some(machine) = self.workers.find(id) else { return };
        self.forget_stopping(machine);
        let Some(worker) = self.workers.get_mut(machine) else { return };
        if worker.session.take().is_none() {
            return;
        }
        let owned: Vec<NodeSlot> = worker.jobs.iter().map(|(_, holding)| holding.node).collect();
        for slot in owned {
            self.begin_lease(slot);
        }
        self.refit(machine);
    }

    fn session_mut(&mut self, id: WorkerId) -> Option<(Machine, &mut Session)> {
        let machine = self.workers.find(id)?;
        Some((machine, self.workers.get_mut(machine)?.session.as_mut()?))
    }

    /// The job waits for its owner from now on; when it waits already, not longer than it would have.
    fn begin_lease(&mut self, slot: NodeSlot) {
        if matches!(self.nodes[slot].phase, Phase::Running { lease: None, .. }) {
            self.set_lease(slot, Some(self.now.plus(self.settings.lease)));
        }
    }

    /// A session that has ended has nothing left to stop; a new one says itself what it runs.
    fn forget_stopping(&mut self, machine: Machine) {
        let stopping: Vec<_> =
            self.workers.get(machine).map_or_else(Vec::new, |worker| worker.stopping.keys().copied().collect());
        for (job, epoch) in stopping {
            if let Some(until) = self.workers.get_mut(machine).and_then(|worker| worker.stopped(job, epoch)) {
                self.timers.remove(&(until, Timer::Stopped(machine, job, epoch)));
            }
        }
    }

    /// Finds anew which classes a worker fits.
    fn refit(&mut self, machine: Machine) {
        if let Some(worker) = self.workers.get_mut(machine) {
            let slots = worker.session.as_ref().map_or(0, |session| session.capabilities.build_slots);
            for slot in self.classes.slots() {
                let class = &mut self.classes[slot];
                if class.workers.remove(&machine) {
                    class.slots -= worker.slots;
                }
                if worker.fits(&class.requirement) && !class.requirement.excluded.contains(&machine) {
                    class.workers.insert(machine);
                    class.slots += slots;
                    worker.classes.insert(slot);
                } else {
                    worker.classes.remove(&slot);
                }
            }
            worker.slots = slots;
            // Its free slots may be as many as before, but for other jobs.
            self.freed.insert(machine);
        }
        self.reprofile(machine);
        self.refresh_worker(machine);
        self.touch_all();
    }
}
