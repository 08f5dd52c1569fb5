//! Git repositories from outside: whether one can be reached, its head commit, and SSH keys for it.
//!
//! `git` runs as a process with a clean environment and a configuration of its own, within a time limit, and is ended with all
//! that it started. Repository URLs come from users, so a host on this machine or on a private network is refused unless
//! [`ForgeSettings::allow_local`] says otherwise, and git is held to the addresses that were looked at.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use gradient_forge::{Forge, ForgeError, ForgeSettings};
//!
//! let forge = Forge::new(ForgeSettings::default());
//! let error = forge.head(&"https://127.0.0.1/owner/name".parse()?, Some("main"), None).await.unwrap_err();
//! assert!(matches!(error, ForgeError::HostRefused { .. }));
//!
//! let pair = gradient_forge::ssh_key::generate("acme")?;
//! assert!(pair.public_line.starts_with("ssh-ed25519 "));
//! # Ok(())
//! # }
//! ```

mod branch;
mod commit;
mod contact;
mod error;
mod forge;
mod git;
mod host;
mod settings;
pub mod ssh_key;
mod words;

pub use commit::HeadCommit;
pub use error::ForgeError;
pub use forge::Forge;
pub use settings::{ForgeSettings, SshAccess};
