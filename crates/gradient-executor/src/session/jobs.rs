//! The jobs that run on this worker.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gradient_domain::{Epoch, FailureKind, Job, JobKind, OrganizationId};
use gradient_protocol::{Report, Task};
use tokio::{sync::Semaphore, task::AbortHandle};

use super::{Outbox, WorkerSettings, outbox::Key};
use crate::{
    Machine,
    job::{self, JobContext, failure},
    transfer::Transfer,
};

/// How many assignments a worker holds at most, running or waiting for a slot.
const MAX_JOBS: usize = 1000;

/// Starts jobs as they are assigned, and ends them when they are cancelled or the worker ends.
#[derive(Debug)]
pub(super) struct Jobs {
    machine: Arc<Machine>,
    outbox: Arc<Outbox>,
    transfer: Transfer,
    kinds: Vec<JobKind>,
    slots: Slots,
    running: Arc<Mutex<HashMap<Key, AbortHandle>>>,
}

/// How much is done at once of each kind.
#[derive(Debug)]
struct Slots {
    fetch: Arc<Semaphore>,
    evaluate: Arc<Semaphore>,
    build: Arc<Semaphore>,
}

impl Jobs {
    pub(super) fn new(machine: Arc<Machine>, outbox: Arc<Outbox>, transfer: Transfer, settings: &WorkerSettings) -> Self {
        let builds = usize::try_from(settings.build_slots).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        let slots = Slots {
            fetch: Arc::new(Semaphore::new(1)),
            evaluate: Arc::new(Semaphore::new(1)),
            build: Arc::new(Semaphore::new(builds)),
        };
        Self { machine, outbox, transfer, kinds: settings.kinds.clone(), slots, running: Arc::default() }
    }

    /// Begins a job of an organization, unless it already has this assignment.
    pub(super) fn assign(&self, job: Job, epoch: Epoch, peer: OrganizationId, task: Task) {
        let key = (job, epoch);
        let held = self.outbox.jobs();
        if held.contains(&key) {
            return;
        }
        for old in held.iter().filter(|(held, old)| *held == job && *old < epoch) {
            self.cancel(old.0, old.1);
        }
        self.outbox.open(key);
        let context = JobContext::new(job, epoch, Arc::clone(&self.outbox), self.transfer.for_job(job, epoch));
        let refusal = self.refusal(held.len(), job, &task);
        let (machine, slots) = (Arc::clone(&self.machine), Arc::clone(self.slots(job.kind())));
        let work = tokio::spawn({
            let context = context.clone();
            async move {
                if let Some(refusal) = refusal {
                    return Err(failure(FailureKind::WorkerUnfit, refusal));
                }
                let task = match task {
                    Task::Large {} => context.transfer().task().await?,
                    task => task,
                };
                job::run(&machine.of_peer(peer)?, task, &context, &slots).await
            }
        });
        // Locked until it is in, so that the end of a very short job finds it.
        let mut running = self.running();
        running.insert(key, work.abort_handle());
        drop(running);
        let (running, outbox) = (Arc::clone(&self.running), Arc::clone(&self.outbox));
        tokio::spawn(async move {
            let last = match work.await {
                Ok(Ok(report)) => {
                    tracing::info!(%job, %epoch, "succeeded");
                    report
                }
                Ok(Err(failure)) => {
                    tracing::warn!(%job, %epoch, kind = %failure.kind, message = failure.message, "failed");
                    Report::Failed { failure, log_bytes: context.log_bytes() }
                }
                Err(error) if error.is_cancelled() => {
                    // The server keeps the slot taken until it hears that the job has stopped.
                    outbox.withdraw(key);
                    let failure = failure(FailureKind::Aborted, "the job was stopped");
                    Report::Failed { failure, log_bytes: context.log_bytes() }
                }
                Err(error) => {
                    tracing::error!(%job, %epoch, %error, "the worker's own code failed");
                    let failure = failure(FailureKind::Transient, "the worker's own code failed");
                    Report::Failed { failure, log_bytes: context.log_bytes() }
                }
            };
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            if let Err(error) = context.end(last).await {
                tracing::debug!(%job, %epoch, message = error.message, "its end is not told");
            }
        });
    }

    /// Ends a job; all that is said of it then is that it has stopped. One that has ended already has said so.
    pub(super) fn cancel(&self, job: Job, epoch: Epoch) {
        if let Some(work) = self.running().remove(&(job, epoch)) {
            work.abort();
        }
    }

    /// Why a job is not begun at all.
    fn refusal(&self, held: usize, job: Job, task: &Task) -> Option<&'static str> {
        if !task.fits(job.kind()) {
            Some("the task is of another kind than its job")
        } else if !self.kinds.contains(&job.kind()) {
            Some("this worker does not do jobs of this kind")
        } else if held >= MAX_JOBS {
            Some("this worker has too many jobs")
        } else {
            None
        }
    }

    fn slots(&self, kind: JobKind) -> &Arc<Semaphore> {
        match kind {
            JobKind::Fetch => &self.slots.fetch,
            JobKind::Evaluate => &self.slots.evaluate,
            JobKind::Build => &self.slots.build,
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Key, AbortHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.running().values().for_each(AbortHandle::abort);
    }
}
