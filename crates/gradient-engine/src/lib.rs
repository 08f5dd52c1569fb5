//! The use cases of Gradient: evaluations, dispatch, worker sessions, ingest, publishing; it runs what the scheduler decides.
//!
//! [`Engine`] is the door to all of them. It knows nothing of HTTP: callers bring proof of who asks, and give the answer its
//! form. Each use case is a method of [`Engine`], in the module of the thing it is about.
//!
//! ```
//! use std::num::NonZeroUsize;
//!
//! use gradient_auth::{JwtKeys, PasswordHasher, Sealer, SecretKeys};
//! use gradient_blobs::Blobs;
//! use gradient_engine::{Engine, EngineSettings, Parts};
//! use gradient_forge::{Forge, ForgeSettings};
//! use gradient_storage::{DatabaseUrl, Storage, StorageSettings};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let base = tempfile::tempdir()?;
//! let database = DatabaseUrl::sqlite(base.path().join("gradient.db"));
//! let secret = SecretKeys::parse(SecretKeys::generate_file(&mut rand::rng()).expose())?;
//! let engine = Engine::start(Parts {
//!     storage: Storage::connect(&database, StorageSettings::default()).await?,
//!     blobs: Blobs::open_directory(base.path().join("store"))?,
//!     forge: Forge::new(ForgeSettings::default()),
//!     jwt: JwtKeys::new(&secret),
//!     sealer: Sealer::new(&secret),
//!     passwords: PasswordHasher::new(NonZeroUsize::MIN, &mut rand::rng())?,
//!     settings: EngineSettings::default(),
//! })
//! .await?;
//!
//! assert!(engine.is_username_free("alice".parse()?).await?);
//! engine.health().await?;
//! # Ok(())
//! # }
//! ```

mod accounts;
mod administration;
mod api_keys;
mod artefacts;
mod assignments;
mod build_context;
mod builds;
mod cache_keys;
mod cache_pins;
mod cache_uploads;
mod caches;
mod changes;
mod closure;
mod collection;
mod commits;
mod core;
mod delegation;
mod derivations;
mod direct_builds;
mod downloads;
mod durations;
mod engine;
mod error;
mod evaluations;
mod fetches;
mod hidden;
mod ifd_builds;
mod leases;
mod logs;
mod made;
mod mail;
mod measures;
mod members;
mod organizations;
mod polling;
mod projects;
mod publish;
mod reaper;
mod restart;
mod results;
mod roles;
mod sessions;
mod settings;
mod shares;
mod signing;
mod subscriptions;
mod substituter;
mod uploads;
mod upstreams;
mod workers;

pub use accounts::{BegunSignIn, Confirmation, Login, Origin, Registered, Registration, Remember, User, UserChanges};
pub use administration::{Administration, Fault, NewUser, Resealed, StoreReport, Verification};
pub use api_keys::{ApiKeyUpdate, ApiKeyView, NewApiKey, NewPin};
pub use artefacts::{Artefact, ArtefactKind};
pub use builds::{BuildDetails, Explanation, LOG_TAIL_BYTES};
pub use cache_keys::{CacheKey, CacheKeyView, NewSigner, Signer, WorkerKey, public_key};
pub use cache_pins::PinView;
pub use cache_uploads::{ChunkedUploadBegun, NarUpload, PathUpload, Uploader};
pub use caches::{Cache, CacheChanges, FoundCache, NewCache};
pub use changes::Change;
pub use collection::{Collected, Collection, Superfluous};
pub use commits::Commit;
pub use derivations::DerivationRefusal;
pub use direct_builds::{DirectBuild, SourceError, SourcePath, SourcePathError, Sources};
pub use engine::{Engine, Parts, Unhealthy};
pub use error::EngineError;
pub use evaluations::{BuildPage, EvaluationRequest, Neighbours};
pub use fetches::CacheStatistics;
pub use gradient_auth::oidc::{OidcError, OidcSettings, ProviderAnswer};
pub use gradient_forge::ForgeError;
pub use gradient_scheduler::Estimate;
pub use gradient_storage::{
    StorageError,
    attempts::Attempt,
    builds::{BuildArtefact, BuildView, Graph, GraphNode},
    evaluations::{BuildCounts, BuildSummary, EntryPointView, Evaluation, EvaluationMessage},
};
pub use logs::{LogLine, LogPart, MAX_READ};
pub use mail::{MailLogin, MailSender, MailSettings, MailSettingsError, MailTls};
pub use members::{Member, Membership};
pub use organizations::{FoundOrganization, NewOrganization, Organization, OrganizationChanges};
pub use projects::{NewProject, Project, ProjectChanges};
pub use publish::OutputRefusal;
pub use roles::{NewRole, RoleUpdate, RoleView};
pub use sessions::{ConnectedWorker, Opened, Refused, SessionError, WorkerSession};
pub use settings::EngineSettings;
pub use shares::{Exhausted, Share, Shares};
pub use signing::SigningWait;
pub use subscriptions::SubscribedCache;
pub use substituter::{
    CachedDebuginfo, CachedListing, CachedLog, CachedNar, PulledNar, Reader, Remembered, ServedCache, UPSTREAM_HEADER,
};
pub use uploads::{SourceDeclaration, Upload, UploadError};
pub use upstreams::{UpstreamPlace, UpstreamUpdate, UpstreamView};
pub use workers::{LiveWorker, NewWorker, RegisteredWorker, WorkerRegistration, WorkerRegistrationChanges};
