//! Registrations of workers: which worker may work for which organization, and the token that proves it.

use std::collections::HashMap;

use gradient_auth::WorkerToken;
use gradient_domain::{DisplayName, FailureKind, JobKind, Moment, OrganizationId, Secret, UserId, WorkerId};
use gradient_scheduler::Event;
use gradient_storage::{
    Conn, Digest,
    workers::{self, WorkerChanges},
};

use crate::{ConnectedWorker, Engine, EngineError};

pub use gradient_storage::workers::{WorkerChanges as WorkerRegistrationChanges, WorkerRegistration};

/// A worker that somebody registers.
#[derive(Debug)]
pub struct NewWorker {
    /// The worker.
    pub worker: WorkerId,
    /// Its token, when the one who registers it brings one along.
    pub token: Option<WorkerToken>,
    /// What people read.
    pub display_name: DisplayName,
    /// Whether it may fetch sources.
    pub enable_fetch: bool,
    /// Whether it may evaluate.
    pub enable_eval: bool,
    /// Whether it may build.
    pub enable_build: bool,
}

/// What a worker offers, less what its registration switches off.
pub(crate) fn enabled_kinds(registration: &WorkerRegistration, offered: &[JobKind]) -> Vec<JobKind> {
    let enabled = |kind: &JobKind| match kind {
        JobKind::Fetch => registration.enable_fetch,
        JobKind::Evaluate => registration.enable_eval,
        JobKind::Build => registration.enable_build,
    };
    offered.iter().copied().filter(enabled).collect()
}

/// A registered worker, and what it does now.
#[derive(Debug)]
pub struct RegisteredWorker {
    /// The registration.
    pub registration: WorkerRegistration,
    /// The worker, while it is connected and serves the organization.
    pub live: Option<LiveWorker>,
}

/// A connected worker.
#[derive(Debug, Clone)]
pub struct LiveWorker {
    /// What it said of itself.
    pub connected: ConnectedWorker,
    /// How many jobs it has, for whomever.
    pub assigned_jobs: usize,
}

impl Engine {
    /// Registers a worker. The answer is its token, when the server made it; it is shown this once.
    pub async fn register_worker(
        &self,
        organization: OrganizationId,
        user: UserId,
        wanted: NewWorker,
    ) -> Result<Option<Secret<String>>, EngineError> {
        let made = wanted.token.is_none();
        let token = wanted.token.unwrap_or_else(|| WorkerToken::generate(&mut rand::rng()));
        let shown = made.then(|| Secret::new(token.expose().to_owned()));
        let registration = WorkerRegistration {
            organization,
            worker: wanted.worker,
            display_name: wanted.display_name,
            token_hash: Digest(*token.hash().as_bytes()),
            enable_fetch: wanted.enable_fetch,
            enable_eval: wanted.enable_eval,
            enable_build: wanted.enable_build,
            registered_at: Moment::now(),
            created_by: Some(user),
        };
        self.storage().write(async move |conn: &mut Conn| workers::insert(conn, &registration).await).await?;
        Ok(shown)
    }

    /// The workers of an organization in the order they were registered.
    pub async fn workers(&self, organization: OrganizationId) -> Result<Vec<RegisteredWorker>, EngineError> {
        let list = async move |conn: &mut Conn| workers::list(conn, organization).await;
        let registrations = self.storage().read(list).await?;
        let mut live: HashMap<_, _> = self
            .live_workers()
            .await
            .into_iter()
            .filter(|live| live.connected.serves(organization))
            .map(|live| (live.connected.worker, live))
            .collect();
        let join = |registration: WorkerRegistration| {
            let live = live.remove(&registration.worker);
            RegisteredWorker { registration, live }
        };
        Ok(registrations.into_iter().map(join).collect())
    }

    /// All connected workers, by id.
    pub async fn live_workers(&self) -> Vec<LiveWorker> {
        let jobs: HashMap<_, _> = self.core().assigned_jobs().await.into_iter().collect();
        let live = |connected: ConnectedWorker| {
            let assigned_jobs = jobs.get(&connected.worker).copied().unwrap_or(0);
            LiveWorker { connected, assigned_jobs }
        };
        let mut all: Vec<_> = self.connected_workers().into_iter().map(live).collect();
        all.sort_by_key(|live| live.connected.worker);
        all
    }

    /// Changes a registration.
    pub async fn change_worker(
        &self,
        organization: OrganizationId,
        worker: WorkerId,
        changes: WorkerChanges,
    ) -> Result<(), EngineError> {
        let set = async move |conn: &mut Conn| {
            workers::set(conn, organization, worker, &changes).await?;
            workers::lookup(conn, organization, worker).await
        };
        let Some(registration) = self.storage().transaction(set).await? else { return Ok(()) };
        // A connected worker gets no more jobs of a kind that is off now; those that it has go on.
        let update = |known: &mut ConnectedWorker| {
            let offered = &known.capabilities.kinds;
            let served = known.organizations.iter_mut().filter(|served| served.organization == organization);
            served.for_each(|served| served.kinds = enabled_kinds(&registration, offered));
        };
        if let Some(known) = self.sessions().update(worker, update) {
            self.core().worker_changed(&known).await;
        }
        Ok(())
    }

    /// Removes a registration. Its session ends, and what it has of the organization's jobs goes to others at once.
    pub async fn unregister_worker(&self, organization: OrganizationId, worker: WorkerId) -> Result<(), EngineError> {
        self.storage().write(async move |conn: &mut Conn| workers::delete(conn, organization, worker).await).await?;
        self.sessions().end(worker, organization);
        for (job, epoch) in self.leases().take_all(worker, organization) {
            self.core().send(Event::JobFailed { job, epoch, worker, kind: FailureKind::Transient }).await;
        }
        Ok(())
    }
}
