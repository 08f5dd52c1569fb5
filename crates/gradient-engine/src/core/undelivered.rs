//! Assignments that are decided on and on their way: until they are durable and prepared, their workers cannot have heard of them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gradient_domain::{Epoch, Job, WorkerId};
use gradient_scheduler::{Decision, Event};

/// A worker that comes back without one of them has not lost it: it is to get it yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Undelivered(Arc<Mutex<HashSet<(WorkerId, Job, Epoch)>>>);

impl Undelivered {
    /// Workers that connect have what is on its way to them, as far as the scheduler is concerned.
    pub(super) fn complete(&self, events: &mut [Event]) {
        for event in events {
            if let Event::WorkerConnected { worker, running, .. } = event {
                let its = self.lock();
                running.extend(its.iter().filter(|(of, ..)| of == worker).map(|&(_, job, epoch)| (job, epoch)));
            }
        }
    }

    /// To be called before anybody makes the decisions durable.
    pub(super) fn note(&self, decisions: &[Decision]) {
        let mut all = self.lock();
        all.extend(decisions.iter().filter_map(|decision| match *decision {
            Decision::Assign { job, epoch, worker } => Some((worker, job, epoch)),
            _ => None,
        }));
    }

    /// To be called right before the worker is told, or when it is not to be told. Not later: the connection that it is told over may
    /// be gone by then.
    pub(super) fn forget(&self, job: Job, epoch: Epoch, worker: WorkerId) {
        self.lock().remove(&(worker, job, epoch));
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(WorkerId, Job, Epoch)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
