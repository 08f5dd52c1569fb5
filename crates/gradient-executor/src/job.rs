//! What a job is given and how it speaks of itself: the border between a session and the kinds of work.

use std::sync::Arc;

use bytes::Bytes;
use gradient_domain::{BuildTimes, Epoch, Failure, FailureKind, Job};
use gradient_protocol::{BuildLimits, BuiltOutput, InputPath, Report, Task, ToServer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Machine, build, evaluate, fetch, session::Outbox, transfer::JobTransfer};

/// One assignment, as the code that does it sees it. When the assignment is cancelled, its future is dropped.
#[derive(Debug, Clone)]
pub(crate) struct JobContext {
    job: Job,
    epoch: Epoch,
    outbox: Arc<Outbox>,
    transfer: JobTransfer,
}

impl JobContext {
    /// The context of a job that the outbox has opened.
    pub(crate) fn new(job: Job, epoch: Epoch, outbox: Arc<Outbox>, transfer: JobTransfer) -> Self {
        Self { job, epoch, outbox, transfer }
    }

    /// The HTTP routes of this assignment.
    pub(crate) fn transfer(&self) -> &JobTransfer {
        &self.transfer
    }

    /// Says something of the job that is not its end. Waits while too much is unacknowledged.
    pub(crate) async fn report(&self, report: Report) -> Result<(), Failure> {
        self.send(report, false).await
    }

    /// Says that the outputs are in the local store, and other builds may begin with them.
    pub(crate) async fn made(&self, outputs: &[BuiltOutput]) -> Result<(), Failure> {
        self.outbox.made((self.job, self.epoch), outputs.iter().map(|output| output.path.clone()).collect());
        self.report(Report::Made { outputs: outputs.to_vec() }).await
    }

    /// The jobs of this worker that made some of these inputs, as far as the server does not have them yet.
    pub(crate) fn makers(&self, inputs: &[InputPath]) -> Vec<(Job, Epoch)> {
        self.outbox.makers(&inputs.iter().map(|input| &input.path).collect())
    }

    /// Waits until the server has what these jobs made, or knows that they have failed.
    pub(crate) async fn over(&self, makers: &[(Job, Epoch)]) {
        for &maker in makers {
            self.outbox.over(maker).await;
        }
    }

    /// Says how the job ended.
    pub(crate) async fn end(&self, report: Report) -> Result<(), Failure> {
        self.send(report, true).await
    }

    /// Appends to the job's log. Waits while too much of it is not stored yet.
    pub(crate) async fn log(&self, bytes: &[u8]) {
        self.outbox.log((self.job, self.epoch), bytes).await;
    }

    /// How long the log is so far.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.outbox.log_bytes((self.job, self.epoch))
    }

    async fn send(&self, report: Report, last: bool) -> Result<(), Failure> {
        let (job, epoch) = (self.job, self.epoch);
        let encode = |number| {
            let message = ToServer::Report { number, job, epoch, report };
            gradient_protocol::encode(&message).map(Bytes::from)
        };
        self.outbox.report((job, epoch), last, encode).await.map_err(|error| failure(FailureKind::Permanent, error))
    }
}

/// One of the places for jobs of a kind, as soon as there is one.
pub(crate) async fn slot(slots: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
    Arc::clone(slots).acquire_owned().await.map_err(|error| failure(FailureKind::Transient, error))
}

/// Does the task and gives the report that ends it. A build needs its slot only while its builder runs: others build while its inputs
/// and outputs are on their way.
pub(crate) async fn run(machine: &Machine, task: Task, context: &JobContext, slots: &Arc<Semaphore>) -> Result<Report, Failure> {
    if !task.fits(context.job.kind()) {
        return Err(failure(FailureKind::WorkerUnfit, "the task is of another kind than its job"));
    }
    if let Task::Build(mut task) = task {
        task.limits = bounded(task.limits, machine.build_times);
        return build::run(&machine.daemons, &machine.uploads, task, context, slots).await;
    }
    let _slot = slot(slots).await?;
    match task {
        Task::Fetch(task) => {
            context.report(Report::Started {}).await?;
            fetch::run(machine, task, context).await.map(|source| Report::Fetched { source })
        }
        Task::Evaluate(task) => {
            context.report(Report::Started {}).await?;
            evaluate::run(machine, task, context).await.map(|()| Report::Evaluated {})
        }
        Task::Build(_) | Task::Large {} => Err(failure(FailureKind::WorkerUnfit, "the server gave no task that can be done")),
    }
}

/// The limits of a build on a machine whose operator allows builders so much time.
fn bounded(limits: BuildLimits, allowed: BuildTimes) -> BuildLimits {
    let asked = BuildTimes { timeout_secs: limits.timeout_secs, max_silent_secs: limits.max_silent_secs };
    let BuildTimes { timeout_secs, max_silent_secs } = asked.at_most(allowed);
    BuildLimits { timeout_secs, max_silent_secs, ..limits }
}

/// A failure of this kind with its sentence, cut to what fits a report.
#[expect(clippy::needless_pass_by_value, reason = "callers hand over what they have, and are done with it")]
pub(crate) fn failure(kind: FailureKind, message: impl ToString) -> Failure {
    Failure { kind, message: cut(message.to_string(), 64 << 10) }
}

/// At most about `limit` bytes of a text: its end, where programs say what went wrong.
pub(crate) fn cut(text: String, limit: usize) -> String {
    if text.len() <= limit {
        return text;
    }
    let start = text.ceil_char_boundary(text.len() - limit);
    format!("…{}", text.get(start..).unwrap_or_default())
}
