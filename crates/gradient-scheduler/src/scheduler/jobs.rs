//! Reports about jobs, and what follows when none comes.

use gradient_domain::{BuildStatus, Epoch, FailureKind, Job, WorkerId};

use super::{Scheduler, Timer, builds::Why};
use crate::{
    Decision,
    copies::{Copies, Size},
    node::{NodeSlot, Phase},
    workers::Machine,
};

/// When a job that failed transiently may run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    AtOnce,
    Later,
}

impl Scheduler {
    pub(super) fn start_job(&mut self, job: Job, epoch: Epoch, worker: WorkerId) {
        let Some(machine) = self.workers.find(worker) else { return };
        if self.owned(job, epoch, machine).is_some()
            && let Some(holding) = self.workers.get_mut(machine).and_then(|owner| owner.jobs.get_mut(job))
        {
            holding.started_at.get_or_insert(self.now);
        }
    }

    pub(super) fn end_builder(&mut self, job: Job, epoch: Epoch, worker: WorkerId, usable: bool) {
        let Some(machine) = self.workers.find(worker) else { return };
        if self.owned(job, epoch, machine).is_some()
            && let Some(owner) = self.workers.get_mut(machine)
        {
            owner.deliver(job);
            if let Some(holding) = owner.jobs.get_mut(job) {
                holding.usable = usable;
            }
            self.freed.insert(machine);
            self.refresh_worker(machine);
        }
    }

    pub(super) fn finish_job(&mut self, job: Job, epoch: Epoch, worker: WorkerId, bytes: u64) {
        let Some(machine) = self.workers.find(worker) else { return };
        if let Some(slot) = self.owned(job, epoch, machine) {
            match job {
                Job::Build(_) => {
                    let node = &mut self.nodes[slot];
                    (node.size, node.copies) = (Size::of(bytes), Copies::made_on(machine));
                    self.complete_build(slot, BuildStatus::Completed);
                }
                Job::Fetch(id) | Job::Evaluate(id) => self.advance(id, slot),
            }
        } else {
            self.stopped(machine, job, epoch);
        }
    }

    pub(super) fn fail_job(&mut self, job: Job, epoch: Epoch, worker: WorkerId, kind: FailureKind) {
        let Some(machine) = self.workers.find(worker) else { return };
        if let Some(slot) = self.owned(job, epoch, machine) {
            self.fail_attempt(slot, kind, Retry::Later);
        } else {
            self.stopped(machine, job, epoch);
        }
    }

    /// The job, if this worker owns it under this epoch. Whoever else reports is late.
    pub(super) fn owned(&self, job: Job, epoch: Epoch, worker: Machine) -> Option<NodeSlot> {
        // Among the few that the worker has, instead of among all.
        let slot = self.workers.get(worker)?.jobs.get(job)?.node;
        self.nodes[slot].is_owner(epoch, worker).then_some(slot)
    }

    /// The owner of a job will not bring it to its end.
    pub(super) fn fail_attempt(&mut self, slot: NodeSlot, kind: FailureKind, retry: Retry) {
        let node = &self.nodes[slot];
        let Phase::Running { worker, .. } = node.phase else { return };
        let (job, epoch) = (node.job, node.epoch);
        // A worker that ends a job by itself says `aborted`; that is nothing that the job did.
        let may_retry = kind.is_transient() || kind == FailureKind::Aborted;
        let why = Why { cause: None, failure: Some(kind) };
        if let (true, true, Job::Build(id)) = (may_retry, node.evaluations.is_empty(), job) {
            self.decide_build(id, BuildStatus::Aborted, epoch, why);
            return self.end_build(slot, BuildStatus::Aborted);
        }
        if !may_retry || epoch.0 >= self.settings.max_attempts {
            return self.fail_for_good(slot, kind);
        }
        if let Job::Build(id) = job {
            self.decide_build(id, BuildStatus::Queued, epoch, why);
        }
        self.nodes[slot].failed_on = Some(worker);
        if kind == FailureKind::WorkerUnfit {
            let mut requirement = self.classes[self.nodes[slot].class].requirement.clone();
            requirement.excluded.push(worker);
            requirement.excluded.sort_unstable();
            requirement.excluded.dedup();
            self.set_class(slot, requirement);
        }
        let phase = match retry {
            _ if self.nodes[slot].blocked > 0 => Phase::Blocked,
            Retry::Later if kind != FailureKind::WorkerUnfit => {
                Phase::Delayed { until: self.now.plus(self.settings.back_off(epoch.0)) }
            }
            _ => Phase::Ready,
        };
        self.set_phase(slot, phase);
        self.recall_dependents(slot);
    }

    fn fail_for_good(&mut self, slot: NodeSlot, kind: FailureKind) {
        let node = &self.nodes[slot];
        match node.job {
            Job::Build(id) => {
                self.decide_build(id, BuildStatus::Failed, node.epoch, Why { cause: None, failure: Some(kind) });
                self.end_build(slot, BuildStatus::Failed);
            }
            Job::Fetch(id) | Job::Evaluate(id) => self.fail_stage(id, slot, kind),
        }
    }

    /// Tells a job's owner to stop, before the job is taken away from it.
    pub(super) fn cancel(&mut self, slot: NodeSlot) {
        let node = &self.nodes[slot];
        if let Phase::Running { worker, .. } = node.phase {
            let (job, epoch) = (node.job, node.epoch);
            if self.stop(worker, job, epoch) {
                let worker = self.workers.id(worker);
                self.decisions.push(Decision::Cancel { job, epoch, worker });
            }
        }
    }

    /// Keeps a slot of the worker taken until it has stopped the job; whether the worker is there to be told.
    pub(super) fn stop(&mut self, machine: Machine, job: Job, epoch: Epoch) -> bool {
        let Some(worker) = self.workers.get_mut(machine).filter(|worker| worker.session.is_some()) else { return false };
        if !worker.stopping.contains_key(&(job, epoch)) {
            let until = self.now.plus(self.settings.lease);
            worker.stop(job, epoch, until);
            self.timers.insert((until, Timer::Stopped(machine, job, epoch)));
            self.refresh_worker(machine);
        }
        true
    }

    /// A worker does not run a job any more that was not its own.
    pub(super) fn stopped(&mut self, machine: Machine, job: Job, epoch: Epoch) {
        if let Some(until) = self.workers.get_mut(machine).and_then(|worker| worker.stopped(job, epoch)) {
            self.timers.remove(&(until, Timer::Stopped(machine, job, epoch)));
            self.refresh_worker(machine);
        }
    }

    /// Does what is due.
    pub(super) fn run_timers(&mut self) {
        while let Some(&(at, timer)) = self.timers.first().filter(|&&(at, _)| at <= self.now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Retry(slot) => self.set_phase(slot, Phase::Ready),
                Timer::Lease(slot) => {
                    self.cancel(slot);
                    self.fail_attempt(slot, FailureKind::Transient, Retry::AtOnce);
                }
                Timer::Stopped(worker, job, epoch) => self.stopped(worker, job, epoch),
            }
        }
    }
}
