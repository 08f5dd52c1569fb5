//! The one place where a job's phase changes, and all that is derived from phases follows: queues, timers, slots, counts.

use gradient_domain::Job;

use super::{Scheduler, Timer};
use crate::{
    Tick,
    class::{ClassSlot, Requirement},
    node::{Node, NodeSlot, Phase},
    worker::Worker,
    workers::Machine,
};

impl Scheduler {
    pub(super) fn set_phase(&mut self, slot: NodeSlot, phase: Phase) {
        self.leave_phase(slot);
        self.withdraw(slot);
        let node = &mut self.nodes[slot];
        let was_open = node.is_open();
        node.phase = phase;
        let work = &mut self.classes[node.class].work;
        match (was_open, node.is_open()) {
            (true, false) => *work -= u64::from(node.expected.get()),
            (false, true) => *work += u64::from(node.expected.get()),
            _ => {}
        }
        self.enroll(slot);
        self.enter_phase(slot);
    }

    fn leave_phase(&mut self, slot: NodeSlot) {
        let node = &self.nodes[slot];
        match node.phase {
            Phase::Blocked | Phase::Ended { .. } => {}
            Phase::Ready => {
                self.classes[node.class].queue.remove(&node.urgency(slot));
            }
            Phase::Delayed { until } => {
                self.timers.remove(&(until, Timer::Retry(slot)));
            }
            Phase::Running { worker, lease } => {
                if let Some(until) = lease {
                    self.timers.remove(&(until, Timer::Lease(slot)));
                }
                let organization = self.classes[node.class].requirement.organization;
                self.organizations.entry(organization).or_default().share.end(self.now);
                if let Some(owner) = self.workers.get_mut(worker) {
                    owner.release(node.job);
                }
                self.refresh_worker(worker);
            }
        }
    }

    fn enter_phase(&mut self, slot: NodeSlot) {
        let node = &self.nodes[slot];
        match node.phase {
            Phase::Blocked => {}
            Phase::Ready => {
                self.classes[node.class].queue.insert(node.urgency(slot));
                self.roused.insert(node.class);
            }
            Phase::Delayed { until } => {
                self.timers.insert((until, Timer::Retry(slot)));
            }
            Phase::Running { worker, lease } => {
                if let Some(until) = lease {
                    self.timers.insert((until, Timer::Lease(slot)));
                }
                let organization = self.classes[node.class].requirement.organization;
                self.organizations.entry(organization).or_default().share.begin(self.now);
                self.workers.enter(worker).hold(node.job, slot, node.expected);
                self.refresh_worker(worker);
            }
            Phase::Ended { .. } => self.quit_class(slot),
        }
    }

    /// Changes until when a running job stays with an owner that does not look after it.
    pub(super) fn set_lease(&mut self, slot: NodeSlot, new: Option<Tick>) {
        if let Phase::Running { lease, .. } = &mut self.nodes[slot].phase {
            if let Some(until) = std::mem::replace(lease, new) {
                self.timers.remove(&(until, Timer::Lease(slot)));
            }
            if let Some(until) = new {
                self.timers.insert((until, Timer::Lease(slot)));
            }
        }
    }

    /// Changes what a job that is in no queue asks of a worker.
    pub(super) fn set_class(&mut self, slot: NodeSlot, requirement: Requirement) {
        self.withdraw(slot);
        self.quit_class(slot);
        self.nodes[slot].class = self.join_class(requirement);
        self.enroll(slot);
    }

    /// Changes what decides a job's place in its queue.
    pub(super) fn reorder(&mut self, slot: NodeSlot, change: impl FnOnce(&mut Node)) {
        let node = &mut self.nodes[slot];
        let before = node.urgency(slot);
        change(node);
        if node.phase == Phase::Ready {
            let queue = &mut self.classes[node.class].queue;
            queue.remove(&before);
            queue.insert(node.urgency(slot));
        }
    }

    /// Counts a job in with everybody who counts it.
    pub(super) fn enroll(&mut self, slot: NodeSlot) {
        let node = &self.nodes[slot];
        for evaluation in node.evaluations.iter() {
            self.evaluations[evaluation].enroll(node.phase, node.class);
        }
        self.touch_evaluations_of(slot);
    }

    /// Takes back what [`Self::enroll`] counted.
    pub(super) fn withdraw(&mut self, slot: NodeSlot) {
        let node = &self.nodes[slot];
        for evaluation in node.evaluations.iter() {
            self.evaluations[evaluation].withdraw(node.phase, node.class);
        }
    }

    fn touch_evaluations_of(&mut self, slot: NodeSlot) {
        let node = &self.nodes[slot];
        self.touched.extend(node.evaluations.iter());
        if let Job::Fetch(id) | Job::Evaluate(id) = node.job {
            self.touched.extend(self.evaluation_of.get(&id));
        }
    }

    pub(super) fn touch_all(&mut self) {
        self.touched.extend(self.evaluations.slots());
    }

    /// The class of jobs with this requirement, with one more member.
    pub(super) fn join_class(&mut self, requirement: Requirement) -> ClassSlot {
        let (class, is_new) = self.classes.join(requirement);
        if is_new {
            let requirement = &self.classes[class].requirement;
            let fits = |machine, worker: &Worker| worker.fits(requirement) && !requirement.excluded.contains(&machine);
            let fitting = self.workers.iter().filter(|&(machine, worker)| fits(machine, worker));
            let fitting: Vec<Machine> = fitting.map(|(machine, _)| machine).collect();
            let profiles = self.profiles.iter().filter(|(_, profile)| profile.fits(requirement));
            let profiles = profiles.map(|(slot, profile)| (profile.breadth(), slot)).collect();
            self.classes[class].profiles = profiles;
            for machine in fitting {
                self.classes[class].workers.insert(machine);
                if let Some(worker) = self.workers.get_mut(machine) {
                    self.classes[class].slots += worker.slots;
                    worker.classes.insert(class);
                }
            }
        }
        class
    }

    fn quit_class(&mut self, slot: NodeSlot) {
        let class = self.nodes[slot].class;
        if let Some(gone) = self.classes.quit(class) {
            for worker in gone.workers {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.classes.remove(&class);
                }
            }
        }
    }
}
