//! What the server does not have yet: reports that it has not acknowledged, log bytes that it has not stored, and outputs that it has
//! not published.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use gradient_domain::{Epoch, Job};
use gradient_nix::StorePath;
use gradient_protocol::{EncodeError, ReportNumber, ToServer};
use thiserror::Error;
use tokio::sync::Notify;

use super::log_buffer::LogBuffer;

/// One assignment.
pub(crate) type Key = (Job, Epoch);

/// How many reports of one job may wait for their acknowledgement before the job has to wait.
const MAX_REPORTS: usize = 8;

/// Keeps what was said until the server has it, in order, over any number of connections.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Where logs go that the server does not take for long; without it their jobs wait.
    spill: Option<PathBuf>,
    /// Something can be sent, or a job is over.
    changed: Notify,
    /// Something was acknowledged or given up.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    last_number: ReportNumber,
    /// Reports up to here were sent over the present connection.
    sent: ReportNumber,
    reports: BTreeMap<ReportNumber, Pending>,
    jobs: BTreeMap<Key, JobQueue>,
    /// Whose log was sent last, so that the next one gets its turn.
    last_log: Option<Key>,
}

#[derive(Debug)]
struct Pending {
    key: Key,
    frame: Bytes,
    last: bool,
}

#[derive(Debug, Default)]
struct JobQueue {
    unacknowledged: usize,
    log: LogBuffer,
    /// The outputs that are in the local store.
    made: Vec<StorePath>,
}

/// Why a report is not sent.
#[derive(Debug, Error)]
pub(crate) enum ReportError {
    /// The job was cancelled.
    #[error("the job is not wanted any more")]
    Closed,
    /// The report is larger than a frame.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Outbox {
    /// One that keeps long logs in files of this directory.
    pub(crate) fn spilling(directory: PathBuf) -> Self {
        Self { spill: Some(directory), ..Self::default() }
    }

    /// Begins to keep what an assignment says.
    pub(crate) fn open(&self, key: Key) {
        self.state().jobs.entry(key).or_default();
    }

    /// Forgets all that an assignment said, but not the assignment: its end is still to be told.
    pub(crate) fn withdraw(&self, key: Key) {
        let mut state = self.state();
        if let Some(queue) = state.jobs.get_mut(&key) {
            *queue = JobQueue::default();
        }
        state.reports.retain(|_, pending| pending.key != key);
        drop(state);
        self.room.notify_waiters();
    }

    /// The assignments that still run, or have said something that the server does not have.
    pub(crate) fn jobs(&self) -> Vec<Key> {
        self.state().jobs.keys().copied().collect()
    }

    /// Whether nothing runs and nothing is unsaid.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().jobs.is_empty()
    }

    /// Queues a report; `last` says that the job is over once it is acknowledged.
    pub(crate) async fn report(
        &self,
        key: Key,
        last: bool,
        encode: impl FnOnce(ReportNumber) -> Result<Bytes, EncodeError>,
    ) -> Result<(), ReportError> {
        let mut encode = Some(encode);
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            if let Some(outcome) = self.try_report(key, last, &mut encode) {
                self.changed.notify_one();
                return outcome;
            }
            room.await;
        }
    }

    fn try_report(
        &self,
        key: Key,
        last: bool,
        encode: &mut Option<impl FnOnce(ReportNumber) -> Result<Bytes, EncodeError>>,
    ) -> Option<Result<(), ReportError>> {
        let mut state = self.state();
        let number = state.last_number + 1;
        let Some(queue) = state.jobs.get_mut(&key) else { return Some(Err(ReportError::Closed)) };
        if queue.unacknowledged >= MAX_REPORTS {
            return None;
        }
        let frame = match encode.take()?(number) {
            Ok(frame) => frame,
            Err(error) => return Some(Err(error.into())),
        };
        queue.unacknowledged += 1;
        state.last_number = number;
        state.reports.insert(number, Pending { key, frame, last });
        Some(Ok(()))
    }

    /// A job has these outputs in the local store; they are the server's when the job is over.
    pub(crate) fn made(&self, key: Key, outputs: Vec<StorePath>) {
        if let Some(queue) = self.state().jobs.get_mut(&key) {
            queue.made = outputs;
        }
    }

    /// The jobs that made some of these paths, and are not over.
    pub(crate) fn makers(&self, paths: &HashSet<&StorePath>) -> Vec<Key> {
        let state = self.state();
        let makers = state.jobs.iter().filter(|(_, queue)| queue.made.iter().any(|path| paths.contains(path)));
        makers.map(|(key, _)| *key).collect()
    }

    /// Waits until the server has all that a job says, its end included.
    pub(crate) async fn over(&self, key: Key) {
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            if !self.state().jobs.contains_key(&key) {
                return;
            }
            room.await;
        }
    }

    /// Queues log bytes; those of a job that is not wanted any more are dropped.
    pub(crate) async fn log(&self, key: Key, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            let taken = match self.state().jobs.get_mut(&key) {
                Some(queue) => queue.log.push(bytes, self.spill.as_deref()),
                None => return,
            };
            bytes = bytes.get(taken..).unwrap_or_default();
            if taken > 0 {
                self.changed.notify_one();
            } else {
                room.await;
            }
        }
    }

    /// How long the log of a job is, all that was ever queued.
    pub(crate) fn log_bytes(&self, key: Key) -> u64 {
        self.state().jobs.get(&key).map_or(0, |queue| queue.log.end())
    }

    /// The next frame to send, if there is one. A job's last report comes after all of its log.
    pub(crate) fn next_frame(&self) -> Option<Bytes> {
        let mut state = self.state();
        let State { sent, reports, jobs, last_log, .. } = &mut *state;
        if let Some((number, pending)) = reports.range(*sent + 1..).next() {
            if !pending.last || jobs.get(&pending.key).is_none_or(|queue| queue.log.is_sent()) {
                *sent = *number;
                return Some(pending.frame.clone());
            }
            if let Some(frame) = log_frame(pending.key, jobs) {
                return Some(frame);
            }
        }
        let after = last_log.and_then(|last| {
            jobs.range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded)).find(|(_, queue)| queue.log.has_unsent())
        });
        let key = *after.or_else(|| jobs.iter().find(|(_, queue)| queue.log.has_unsent()))?.0;
        *last_log = Some(key);
        log_frame(key, jobs)
    }

    /// Waits until there may be something to send, or a job is over.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The server has this report.
    pub(crate) fn acknowledge(&self, number: ReportNumber) {
        let mut state = self.state();
        let Some(pending) = state.reports.remove(&number) else { return };
        if pending.last {
            state.jobs.remove(&pending.key);
            self.changed.notify_one();
        } else if let Some(queue) = state.jobs.get_mut(&pending.key) {
            queue.unacknowledged = queue.unacknowledged.saturating_sub(1);
        }
        drop(state);
        self.room.notify_waiters();
    }

    /// The server has the log up to `offset`.
    pub(crate) fn log_stored(&self, key: Key, offset: u64) {
        if let Some(queue) = self.state().jobs.get_mut(&key) {
            queue.log.stored(offset);
        }
        // What was in a file can be sent now.
        self.changed.notify_one();
        self.room.notify_waiters();
    }

    /// A new connection: what the server does not have is sent again.
    pub(crate) fn rewind(&self) {
        let mut state = self.state();
        state.sent = 0;
        state.jobs.values_mut().for_each(|queue| queue.log.rewind());
        drop(state);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No holder of the lock leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_frame((job, epoch): Key, jobs: &mut BTreeMap<Key, JobQueue>) -> Option<Bytes> {
    let (offset, bytes) = jobs.get_mut(&(job, epoch))?.log.next_chunk()?;
    let message = ToServer::Log { job, epoch, offset, bytes };
    match gradient_protocol::encode(&message) {
        Ok(frame) => Some(frame.into()),
        Err(error) => {
            tracing::error!(%job, %error, "a part of a log cannot be sent");
            None
        }
    }
}

#[cfg(test)]
mod tests;
