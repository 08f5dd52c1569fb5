//! Who owns which job right now: the answer that every report, log chunk and upload is checked against.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use gradient_domain::{Epoch, Job, OrganizationId, WorkerId};

/// The ownership of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) epoch: Epoch,
    pub(crate) worker: WorkerId,
    pub(crate) organization: OrganizationId,
}

/// The leases that are out. The database has the same; this is the copy that is asked on every message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases(Arc<Mutex<HashMap<Job, Lease>>>);

impl Leases {
    pub(crate) fn grant(&self, job: Job, lease: Lease) {
        self.lock().insert(job, lease);
    }

    /// Ends a worker's lease, unless the job has another one already.
    pub(crate) fn end(&self, job: Job, epoch: Epoch, worker: WorkerId) {
        let mut leases = self.lock();
        if leases.get(&job).is_some_and(|lease| lease.epoch == epoch && lease.worker == worker) {
            leases.remove(&job);
        }
    }

    /// Ends a lease, whoever has it, unless the job has a newer one already. Whether there was one.
    pub(crate) fn revoke(&self, job: Job, epoch: Epoch) -> bool {
        let mut leases = self.lock();
        let is_current = leases.get(&job).is_some_and(|lease| lease.epoch == epoch);
        if is_current {
            leases.remove(&job);
        }
        is_current
    }

    /// Ends all leases that a worker holds of an organization's jobs, and says which they were.
    pub(crate) fn take_all(&self, worker: WorkerId, organization: OrganizationId) -> Vec<(Job, Epoch)> {
        let is_its = |lease: &Lease| lease.worker == worker && lease.organization == organization;
        self.lock().extract_if(|_, lease| is_its(lease)).map(|(job, lease)| (job, lease.epoch)).collect()
    }

    /// The lease, when this worker holds it with this epoch.
    pub(crate) fn held(&self, job: Job, epoch: Epoch, worker: WorkerId) -> Option<Lease> {
        self.lock().get(&job).filter(|lease| lease.epoch == epoch && lease.worker == worker).copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Job, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use gradient_domain::{BuildId, OrganizationId};

    use super::*;

    #[test]
    fn only_the_newest_holder_holds() {
        let (leases, job, worker) = (Leases::default(), Job::Build(BuildId::new()), WorkerId::random());
        let lease = |epoch| Lease { epoch: Epoch(epoch), worker, organization: OrganizationId::new() };
        leases.grant(job, lease(1));
        leases.grant(job, lease(2));

        assert_eq!(leases.held(job, Epoch(1), worker), None);
        assert!(leases.held(job, Epoch(2), worker).is_some());
        assert_eq!(leases.held(job, Epoch(2), WorkerId::random()), None);

        leases.end(job, Epoch(1), worker);
        assert!(leases.held(job, Epoch(2), worker).is_some(), "a late end of an older lease changes nothing");
        leases.end(job, Epoch(2), WorkerId::random());
        assert!(leases.held(job, Epoch(2), worker).is_some(), "whoever does not hold it cannot end it");
        leases.end(job, Epoch(2), worker);
        assert_eq!(leases.held(job, Epoch(2), worker), None);
    }
}
