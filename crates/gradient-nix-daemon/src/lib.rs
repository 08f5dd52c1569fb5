//! A client of the protocol that Nix's own programs speak with their daemon, in the versions 1.34 (Nix 2.8) to 1.38: to ask a
//! store what it has, to bring paths into it and out of it, and to build.
//!
//! ```
//! use gradient_nix_daemon::{BuildStatus, Options};
//!
//! let options = Options { max_silent: Some(std::time::Duration::from_secs(600)), ..Options::default() };
//! assert_eq!(options.max_jobs, 1);
//! assert!(!BuildStatus::from(8).is_success());
//! ```
//!
//! A connection is opened over any pair of byte streams, to a socket, or to a daemon of one's own:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use gradient_nix_daemon::Daemon;
//!
//! let mut connection = Daemon::new("nix-daemon").connect().await?;
//! let path = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello-2.12".parse()?;
//! if let Some(info) = connection.query_path_info(&path).await? {
//!     println!("{} bytes", info.nar_size);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here has a timeout of its own: that is the caller's, who drops the future and then the connection.

mod connection;
mod error;
mod event;
mod relay;
mod wire;

pub use connection::{
    BasicDerivation, BasicOutput, Build, BuildResult, BuildStatus, Collected, Connection, Daemon, Options, PathInfo, Peer,
};
pub use error::Error;
pub use event::Event;
pub use relay::{DerivationKeeper, Listeners, RelayedBuild, WantedBuilds, relay};
