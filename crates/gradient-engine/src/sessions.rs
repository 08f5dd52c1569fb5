//! The workers that are connected: who they proved to be, and how to reach them.
//!
//! A session begins with a handshake in which the worker proves, peer by peer, whom it may serve. A new connection of the process
//! replaces the old one: a half-open connection never blocks a worker's return.

mod handshake;
mod inbox;
mod lanes;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64, atomic::Ordering},
    time::{Duration, Instant},
};

use gradient_auth::SecretHash;
use gradient_domain::{Epoch, Job, Moment, OrganizationId, WorkerId};
use gradient_protocol::{Capabilities, Load, RefusalCode, ToServer, ToWorker, Welcome};
use gradient_scheduler::WorkerOrganization;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{Engine, derivations::Found, leases::Lease};

/// How many messages may wait for a worker that does not read. Beyond that the session is ended.
const OUTBOX: usize = 1024;

/// How many uploads a worker may have on the way; each takes a thread. Further ones wait.
const UPLOADS: usize = 16;

/// After how much silence a worker may be dead; it says something every 30 seconds.
const SILENCE: Duration = Duration::from_mins(1);

const NEWER_CONNECTION: &str = "the worker has a newer connection";

/// Counts sessions, so that the end of an old one is not taken for the end of its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionNumber(u64);

/// A worker's proven connection. Feed it what the worker says; send the worker what [`Opened::outbox`] gives.
#[derive(Debug)]
pub struct WorkerSession {
    engine: Engine,
    worker: WorkerId,
    number: SessionNumber,
    lanes: lanes::Lanes,
}

/// A session that has just begun.
#[derive(Debug)]
pub struct Opened {
    /// Takes what the worker says.
    pub session: WorkerSession,
    /// The answer to its hello.
    pub welcome: Welcome,
    /// What the worker is to be told; when it ends, the connection has to be closed.
    pub outbox: mpsc::Receiver<ToWorker>,
}

/// A handshake that failed.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct Refused {
    /// Why, for programs.
    pub code: RefusalCode,
    /// Why, for a person.
    pub message: String,
}

/// Why a session has to end.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The worker said something that makes no sense at this point.
    #[error("{0}")]
    Protocol(&'static str),
    /// What the worker said could not be made durable.
    #[error("a message of the worker could not be stored")]
    Engine(#[from] crate::EngineError),
}

/// What is known of a connected worker.
#[derive(Debug, Clone)]
pub struct ConnectedWorker {
    /// Which worker.
    pub worker: WorkerId,
    /// Whom it serves, and with what.
    pub organizations: Vec<WorkerOrganization>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The version of its program.
    pub program: String,
    /// Since when.
    pub connected_at: Moment,
    /// Whether it takes nothing new.
    pub draining: bool,
    /// How busy it says it is.
    pub load: Option<Load>,
}

#[derive(Debug)]
struct Connection {
    number: SessionNumber,
    token: SecretHash,
    outbox: mpsc::Sender<ToWorker>,
    known: ConnectedWorker,
    /// Which process of the worker it is.
    process: Option<u64>,
    /// When it last said something.
    heard: Instant,
    /// When the oldest registration that it proved was made.
    registered: Moment,
    /// Uploads that it may have on the way.
    uploads: Arc<Semaphore>,
}

/// Another worker is connected under the same id, and has the older right to it, or is another process and alive.
#[derive(Debug)]
struct IdTaken;

/// All connections, by worker.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sessions(Arc<SessionsInner>);

#[derive(Debug, Default)]
struct SessionsInner {
    next: AtomicU64,
    connections: Mutex<HashMap<WorkerId, Connection>>,
    /// Held while a session begins or ends, so that the scheduler hears of both in the order in which they happened.
    turnover: tokio::sync::Mutex<()>,
}

impl Sessions {
    /// Replaces whatever connection the worker had; the old one's outbox ends.
    ///
    /// Anybody can register any id, and ids are no secret. So one that serves none of the organizations of the connected worker
    /// is another worker, and the id belongs to the one that was registered first. One that serves some of them may be a copy of it, as
    /// of a machine that was cloned: the two would take each other's jobs away for ever, so that the one that is heard stays.
    fn open(
        &self,
        known: ConnectedWorker,
        process: Option<u64>,
        token: SecretHash,
        registered: Moment,
    ) -> Result<(SessionNumber, mpsc::Receiver<ToWorker>), IdTaken> {
        let (outbox, receiver) = mpsc::channel(OUTBOX);
        let number = SessionNumber(self.0.next.fetch_add(1, Ordering::Relaxed));
        let mut connections = self.lock();
        if let Some(current) = connections.get(&known.worker) {
            let is_same = current.known.organizations.iter().any(|served| known.serves(served.organization));
            let is_copy = current.process.is_some() && process.is_some() && current.process != process;
            let is_taken = if is_same { is_copy && current.heard.elapsed() < SILENCE } else { current.registered <= registered };
            if is_taken {
                return Err(IdTaken);
            }
        }
        let uploads = Arc::new(Semaphore::new(UPLOADS));
        let connection = Connection { number, token, outbox, known, process, heard: Instant::now(), registered, uploads };
        connections.insert(connection.known.worker, connection);
        Ok((number, receiver))
    }

    /// Ends a session; false when a newer one has taken its place.
    fn close(&self, worker: WorkerId, number: SessionNumber) -> bool {
        let mut connections = self.lock();
        // It is gone already when it was ended because the worker did not read.
        let is_newest = connections.get(&worker).is_none_or(|connection| connection.number == number);
        if is_newest {
            connections.remove(&worker);
        }
        is_newest
    }

    /// Whether the worker is connected, and serves the organization in this session.
    pub(crate) fn serves(&self, worker: WorkerId, organization: OrganizationId) -> bool {
        self.lock().get(&worker).is_some_and(|connection| connection.known.serves(organization))
    }

    /// What limits the uploads of a worker's session.
    pub(crate) fn uploads(&self, worker: WorkerId) -> Option<Arc<Semaphore>> {
        self.lock().get(&worker).map(|connection| connection.uploads.clone())
    }

    /// Whether this is the worker's newest session, from which something has just come.
    fn hear(&self, worker: WorkerId, number: SessionNumber) -> bool {
        let mut connections = self.lock();
        let current = connections.get_mut(&worker).filter(|connection| connection.number == number);
        current.map(|connection| connection.heard = Instant::now()).is_some()
    }

    /// Ends the session of a worker that serves the organization; its outbox ends.
    pub(crate) fn end(&self, worker: WorkerId, organization: OrganizationId) {
        let mut connections = self.lock();
        if connections.get(&worker).is_some_and(|connection| connection.known.serves(organization)) {
            connections.remove(&worker);
        }
    }

    /// Sends without waiting. A worker that is away is told when it returns; one that does not read loses its connection.
    pub(crate) fn send(&self, worker: WorkerId, message: ToWorker) {
        let mut connections = self.lock();
        let Some(connection) = connections.get(&worker) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = connection.outbox.try_send(message) {
            tracing::warn!(%worker, "the worker does not read what it is sent; ending its session");
            connections.remove(&worker);
        }
    }

    /// Ends all sessions.
    pub(crate) fn close_all(&self) {
        self.lock().clear();
    }

    /// The worker whose session has this token.
    pub(crate) fn authenticate(&self, token: &str) -> Option<WorkerId> {
        let presented = SecretHash::of(token.as_bytes());
        let connections = self.lock();
        connections.iter().find(|(_, connection)| connection.token.matches(&presented)).map(|(worker, _)| *worker)
    }

    /// Everything that is known of the connected workers, in no order.
    pub(crate) fn connected(&self) -> Vec<ConnectedWorker> {
        self.connected_which(|_| true)
    }

    /// The same of those of which it is asked for.
    pub(crate) fn connected_which(&self, wanted: impl Fn(&ConnectedWorker) -> bool) -> Vec<ConnectedWorker> {
        self.lock().values().map(|connection| &connection.known).filter(|known| wanted(known)).cloned().collect()
    }

    pub(crate) fn update(&self, worker: WorkerId, change: impl FnOnce(&mut ConnectedWorker)) -> Option<ConnectedWorker> {
        let mut connections = self.lock();
        let connection = connections.get_mut(&worker)?;
        change(&mut connection.known);
        Some(connection.known.clone())
    }

    async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.turnover.lock().await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkerId, Connection>> {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WorkerSession {
    /// Which worker it is.
    pub const fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Takes in one message. An error ends this session, and no other.
    pub async fn receive(&mut self, message: ToServer) -> Result<(), SessionError> {
        let (done, taken) = oneshot::channel();
        if self.put(message, Some(done)).await? && taken.await.is_err() {
            return Err(self.failed().await);
        }
        Ok(())
    }

    /// As [`receive`](Self::receive), but what takes a while waits its turn meanwhile, and [`failed`](Self::failed) tells when it could
    /// not be taken in.
    pub async fn receive_later(&mut self, message: ToServer) -> Result<(), SessionError> {
        self.put(message, None).await.map(drop)
    }

    /// Whether the message waits its turn; otherwise it is taken in.
    async fn put(&mut self, message: ToServer, done: Option<oneshot::Sender<()>>) -> Result<bool, SessionError> {
        if !self.engine.sessions().hear(self.worker, self.number) {
            return Err(SessionError::Protocol(NEWER_CONNECTION));
        }
        let Some(message) = self.lanes.put(message, done).await? else { return Ok(true) };
        inbox::take(&self.engine, self.worker, &mut Found::default(), message).await?;
        Ok(false)
    }

    /// Why this session has to end, though all that the worker said was received. Waits for ever while it need not.
    pub async fn failed(&mut self) -> SessionError {
        self.lanes.failed().await
    }

    /// Ends the session. What the worker has been assigned stays its own until the lease ends.
    pub async fn close(self) {
        self.lanes.close().await;
        let _turn = self.engine.sessions().turn().await;
        if self.engine.sessions().close(self.worker, self.number) {
            self.engine.core().worker_lost(self.worker).await;
            self.engine.signing().forget_worker(self.worker);
            self.engine.signing().look();
        }
    }
}

impl ConnectedWorker {
    /// Whether it serves the organization in this session.
    pub fn serves(&self, organization: OrganizationId) -> bool {
        self.organizations.iter().any(|served| served.organization == organization)
    }
}

impl Engine {
    /// The lease of a job, when this worker holds it with this epoch and its session serves the job's organization.
    pub(crate) fn held_lease(&self, job: Job, epoch: Epoch, worker: WorkerId) -> Option<Lease> {
        self.leases().held(job, epoch, worker).filter(|lease| self.sessions().serves(worker, lease.organization))
    }

    /// The workers that are connected now.
    pub fn connected_workers(&self) -> Vec<ConnectedWorker> {
        self.sessions().connected()
    }
}
