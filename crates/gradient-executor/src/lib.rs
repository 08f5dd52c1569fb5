//! Does the work of a Gradient worker: keeps a session with the server, fetches flakes, evaluates them and builds derivations with
//! the machine's own Nix.
//!
//! [`run`] is the whole worker; it needs the machine's [`Nix`], somewhere for temporary files, and the [`Peers`] that it may serve.
//! A TLS provider has to be installed for the process before that.
//!
//! ```
//! use gradient_executor::Peers;
//!
//! let peers: Peers = "# one peer a line\n*:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB\n".parse()?;
//! assert_eq!(peers.tokens().len(), 1);
//!
//! let error = "*:short".parse::<Peers>().unwrap_err();
//! assert_eq!(error.to_string(), "line 1: a token has exactly 64 characters of standard base64, this one has 5");
//! # Ok::<(), gradient_executor::PeersError>(())
//! ```

mod backoff;
mod build;
mod evaluate;
mod expression;
mod fetch;
mod identity;
mod job;
mod nix;
mod peer_stores;
mod peers;
mod process;
mod session;
mod signing;
mod store;
mod transfer;

use std::{path::PathBuf, sync::Arc};

use gradient_domain::BuildTimes;

pub use build::{CheckError, Daemons, UploadBudget};
pub use evaluate::EvaluationLimits;
pub use identity::{IdentityError, worker_id};
pub use nix::{Nix, NixError};
pub use peer_stores::PeerStores;
pub use peers::{Peers, PeersError, PeersFile};
pub use process::ProcessError;
pub use session::{WorkerError, WorkerSettings, run};
pub use signing::{SigningKeys, SigningKeysError};

/// What the jobs of a worker work with.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The machine's Nix.
    pub nix: Nix,
    /// Connections to its daemon, for builds.
    pub daemons: Arc<Daemons>,
    /// The stores of the organizations, when each has its own. With one store for all, only one organization can be served.
    pub peer_stores: Option<PeerStores>,
    /// An existing directory for files that no job outlives.
    pub scratch: PathBuf,
    /// What the outputs of builds share on their way to the server.
    pub uploads: UploadBudget,
    /// What evaluations may use.
    pub evaluation: EvaluationLimits,
    /// `nix-eval-jobs`, where large sets of attributes are to be evaluated with it; its path is absolute.
    pub nix_eval_jobs: Option<PathBuf>,
    /// What has to be free for anything new to begin.
    pub reserve: Reserve,
    /// How long builders may take at most, whatever a flake asks for.
    pub build_times: BuildTimes,
}

/// What has to be free on a machine; with less it is given nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Space where the store is, in bytes.
    pub disk_bytes: u64,
}
