//! The use cases of Gradient: evaluations, dispatch, worker sessions, ingest, publishing; it runs what the scheduler decides.
//!
//! [`Engine`] is the door to all of them. It knows nothing of HTTP: callers bring proof of who asks, and give the answer its
//! form. Each use case is a method of [`Engine`], in the module of the thing it is about.

mod assignments;
mod build_context;
mod builds;
mod changes;
mod closure;
mod core;
mod derivations;
mod engine;
mod error;
mod evaluations;
mod leases;
mod logs;
mod publish;
mod results;
mod sessions;
mod settings;
mod uploads;

pub use builds::BuildDetails;
pub use changes::Change;
pub use derivations::DerivationRefusal;
pub use engine::{Engine, Parts, Unhealthy};
pub use error::EngineError;
pub use evaluations::{BuildPage, EvaluationRequest};
pub use logs::{LogLine, LogPart, MAX_READ};
pub use publish::OutputRefusal;
pub use sessions::{ConnectedWorker, Opened, Refused, SessionError, WorkerSession};
pub use settings::EngineSettings;
pub use uploads::{SourceDeclaration, Upload, UploadError};
