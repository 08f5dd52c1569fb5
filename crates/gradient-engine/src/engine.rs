//! The engine itself: everything that use cases share.

use std::{collections::HashMap, sync::Arc};

use gradient_auth::{JwtKeys, PasswordHasher, Sealer};
use gradient_blobs::Blobs;
use gradient_domain::{CacheId, Moment, OrganizationId, UserId};
use gradient_forge::Forge;
use gradient_nix::NarHash;
use gradient_storage::Storage;
use tokio::sync::{Mutex, MutexGuard, Notify, RwLock, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    EngineError, EngineSettings, Shares,
    accounts::{ProviderSlot, SetupToken},
    artefacts::Owner,
    build_context::BuildContexts,
    changes::Changes,
    core::Core,
    durations::{self, Durations},
    fetches::{self, Fetches, MEASURING},
    leases::Leases,
    mail::Mailer,
    measures, polling,
    publish::{self, Completions},
    reaper,
    sessions::Sessions,
    signing::{self, Signing},
    substituter::Substituter,
    uploads::Pieces,
};

/// Jobs that are prepared for workers at the same time; each may read a whole input closure.
const PREPARING: usize = 8;

/// Logs that are archived at the same time: one, so that no two are the same.
const ARCHIVING: usize = 1;

/// Files and directories that are read out of stored NARs at the same time, each on a thread of its own; and those of one cache or
/// organization.
const EXTRACTING: usize = 16;
const EXTRACTING_EACH: usize = 4;

/// Listings that are sent at the same time; and those of one cache.
const LISTING: usize = 32;
const LISTING_EACH: usize = 8;

/// NARs that are taken in or removed at the same time, when their hashes differ enough.
const NAR_TURNS: usize = 256;

/// Repositories that are asked at the same time because somebody wants to know; and those of one organization, which may be slow to
/// answer.
const ASKING: usize = 16;
const ASKING_EACH: usize = 2;

/// Uploads of sources that are on the way at the same time, each with a file of its own; and those to one organization.
const SPOOLING: usize = 32;
const SPOOLING_EACH: usize = 4;

/// Uploads to caches that are on the way at the same time; and those of one user. Each may need as much memory as the decompressor
/// of what was compressed hardest: 65 MiB with `xz -9`.
const RECEIVING: usize = 16;
const RECEIVING_EACH: usize = 8;

/// Uploaded NARs that are read a second time at once.
const REREADING: usize = 2;

/// What the engine works with.
#[derive(Debug)]
pub struct Parts {
    /// The database.
    pub storage: Storage,
    /// The bytes.
    pub blobs: Blobs,
    /// The repositories.
    pub forge: Forge,
    /// Signs sessions.
    pub jwt: JwtKeys,
    /// Seals secrets at rest.
    pub sealer: Sealer,
    /// Hashes passwords.
    pub passwords: PasswordHasher,
    /// What it is set to.
    pub settings: EngineSettings,
}

/// The use cases of Gradient. Clones share everything.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    setup: Option<SetupToken>,
    mailer: Option<Mailer>,
    oidc: Option<ProviderSlot>,
    core: Core,
    sessions: Sessions,
    leases: Leases,
    build_contexts: BuildContexts,
    durations: Durations,
    completions: Completions,
    signing: Signing,
    changes: Changes,
    substituter: Substituter,
    fetches: Fetches,
    measuring: Shares<CacheId>,
    collecting: Arc<Mutex<()>>,
    collected: std::sync::Mutex<HashMap<CacheId, Moment>>,
    preparing: Semaphore,
    archiving: Semaphore,
    extracting: Shares<Owner>,
    listing: Shares<CacheId>,
    nar_turns: [Mutex<()>; NAR_TURNS],
    ingesting: RwLock<()>,
    reaping: Mutex<()>,
    something_to_reap: Notify,
    asking: Shares<OrganizationId>,
    spooling: Shares<OrganizationId>,
    receiving: Shares<UserId>,
    rereading: Shares<()>,
    pieces: Pieces,
    stopping: CancellationToken,
}

impl Engine {
    /// Starts the engine: unfinished work is read from the database and goes on. Needs a tokio runtime with several threads.
    pub async fn start(parts: Parts) -> Result<Self, EngineError> {
        let (core, dormant) = Core::new();
        let setup = SetupToken::of_empty(&parts.storage).await?;
        let mailer = parts.settings.mail.as_ref().map(Mailer::new).transpose()?;
        let oidc = parts.settings.oidc.clone().map(ProviderSlot::new).transpose()?;
        let (completions, to_complete) = Completions::new();
        let durations = Durations::load(&parts.storage).await?;
        let engine = Self(Arc::new(Inner {
            parts,
            setup,
            mailer,
            oidc,
            core,
            sessions: Sessions::default(),
            leases: Leases::default(),
            build_contexts: BuildContexts::new(),
            durations,
            completions,
            signing: Signing::new(),
            changes: Changes::new(),
            substituter: Substituter::new(),
            fetches: Fetches::new(),
            measuring: Shares::new(MEASURING, 1),
            collecting: Arc::default(),
            collected: std::sync::Mutex::default(),
            preparing: Semaphore::new(PREPARING),
            archiving: Semaphore::new(ARCHIVING),
            extracting: Shares::new(EXTRACTING, EXTRACTING_EACH),
            listing: Shares::new(LISTING, LISTING_EACH),
            nar_turns: std::array::from_fn(|_| Mutex::new(())),
            ingesting: RwLock::new(()),
            reaping: Mutex::new(()),
            something_to_reap: Notify::new(),
            asking: Shares::new(ASKING, ASKING_EACH),
            spooling: Shares::new(SPOOLING, SPOOLING_EACH),
            receiving: Shares::new(RECEIVING, RECEIVING_EACH),
            rereading: Shares::new(REREADING, REREADING),
            pieces: Pieces::default(),
            stopping: CancellationToken::new(),
        }));
        measures::describe();
        publish::start(engine.clone(), to_complete);
        dormant.wake(&engine).await?;
        polling::start(engine.clone());
        reaper::start(engine.clone());
        fetches::start(engine.clone());
        durations::start(engine.clone());
        signing::start(engine.clone());
        Ok(engine)
    }

    /// Ends what would never end by itself: workers' sessions and streams of logs. Workers keep their jobs until the server is
    /// back.
    pub fn stop(&self) {
        self.0.stopping.cancel();
        self.sessions().close_all();
    }

    /// Ends when the engine is told to stop.
    pub(crate) async fn stopped(&self) {
        self.0.stopping.cancelled().await;
    }

    /// What the engine is set to.
    pub fn settings(&self) -> &EngineSettings {
        &self.0.parts.settings
    }

    pub(crate) fn setup(&self) -> Option<&SetupToken> {
        self.0.setup.as_ref()
    }

    pub(crate) fn mailer(&self) -> Option<&Mailer> {
        self.0.mailer.as_ref()
    }

    pub(crate) fn oidc(&self) -> Option<&ProviderSlot> {
        self.0.oidc.as_ref()
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.0.parts.storage
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.0.parts.blobs
    }

    pub(crate) fn forge(&self) -> &Forge {
        &self.0.parts.forge
    }

    pub(crate) fn jwt(&self) -> &JwtKeys {
        &self.0.parts.jwt
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.0.parts.sealer
    }

    pub(crate) fn passwords(&self) -> &PasswordHasher {
        &self.0.parts.passwords
    }

    pub(crate) fn core(&self) -> &Core {
        &self.0.core
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.0.leases
    }

    /// What is known of the builds that were handed out.
    pub(crate) fn build_contexts(&self) -> &BuildContexts {
        &self.0.build_contexts
    }

    /// How long builds are expected to take.
    pub(crate) fn durations(&self) -> &Durations {
        &self.0.durations
    }

    /// Where builds are ended that have their outputs.
    pub(crate) fn completions(&self) -> &Completions {
        &self.0.completions
    }

    /// What workers are asked to sign.
    pub(crate) fn signing(&self) -> &Signing {
        &self.0.signing
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.0.changes
    }

    pub(crate) fn substituter(&self) -> &Substituter {
        &self.0.substituter
    }

    /// What is asked of caches.
    pub(crate) fn fetches(&self) -> &Fetches {
        &self.0.fetches
    }

    /// Limits how many caches are measured at once.
    pub(crate) fn measuring(&self) -> &Shares<CacheId> {
        &self.0.measuring
    }

    /// Lets one collection run at a time: it has all claims of a cache in memory.
    pub(crate) fn collecting(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.0.collecting)
    }

    /// When caches were last collected by themselves.
    pub(crate) fn collected(&self) -> std::sync::MutexGuard<'_, HashMap<CacheId, Moment>> {
        self.0.collected.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Limits how many jobs are prepared at once.
    pub(crate) fn preparing(&self) -> &Semaphore {
        &self.0.preparing
    }

    /// Limits how many logs are archived at once.
    pub(crate) fn archiving(&self) -> &Semaphore {
        &self.0.archiving
    }

    /// Limits how many files and directories are read out of stored NARs at once.
    pub(crate) fn extracting(&self) -> &Shares<Owner> {
        &self.0.extracting
    }

    /// Limits how many listings are sent at once.
    pub(crate) fn listing(&self) -> &Shares<CacheId> {
        &self.0.listing
    }

    /// The turn to put a NAR and its row in place, or to remove both.
    pub(crate) async fn turn_at(&self, nar: &NarHash) -> MutexGuard<'_, ()> {
        let NarHash([place, ..]) = nar;
        self.0.nar_turns[usize::from(*place)].lock().await
    }

    /// Read by who looks at derivations and then refers to them, written by who removes those that nothing refers to.
    pub(crate) fn ingesting(&self) -> &RwLock<()> {
        &self.0.ingesting
    }

    /// Lets one pass of the reaper run at a time.
    pub(crate) fn reaping(&self) -> &Mutex<()> {
        &self.0.reaping
    }

    /// To be notified when something was deleted.
    pub(crate) fn something_to_reap(&self) -> &Notify {
        &self.0.something_to_reap
    }

    /// Limits how many repositories are asked at once because somebody wants to know.
    pub(crate) fn asking(&self) -> &Shares<OrganizationId> {
        &self.0.asking
    }

    /// Limits how many uploads to caches are on the way at once.
    pub(crate) fn receiving(&self) -> &Shares<UserId> {
        &self.0.receiving
    }

    /// Limits how many uploaded NARs are read a second time at once.
    pub(crate) fn rereading(&self) -> &Shares<()> {
        &self.0.rereading
    }

    /// NARs of workers of which pieces have come.
    pub(crate) fn pieces(&self) -> &Pieces {
        &self.0.pieces
    }

    /// Limits how many uploads of sources are on the way at once.
    pub(crate) fn spooling(&self) -> &Shares<OrganizationId> {
        &self.0.spooling
    }

    /// Whether the database and the store of blobs can be used, with the part that cannot.
    pub async fn health(&self) -> Result<(), Unhealthy> {
        self.storage().ping().await.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "the database is down");
            Unhealthy::Database
        })?;
        self.blobs().ping().await.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "the store is down");
            Unhealthy::Store
        })
    }
}

/// The part of the server that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unhealthy {
    /// The database does not answer.
    #[error("the database is not available")]
    Database,
    /// Blobs cannot be written.
    #[error("the store is not available")]
    Store,
}
