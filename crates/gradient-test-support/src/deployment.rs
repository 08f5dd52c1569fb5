//! Gradient as its users run it: a server, workers, a repository with a flake and a Nix client, each a process or folder of its
//! own. The demonstration and the end-to-end tests drive it from outside, through the public interfaces only.

pub mod answer;
mod api;
mod error;
mod evaluation;
mod flake;
mod installation;
mod mail_server;
mod nix;
mod nix_client;
mod oidc_provider;
mod process;
mod programs;
mod s3_server;
pub mod wait;

pub use api::{Api, Authority, Lines};
pub use error::DeploymentError;
pub use evaluation::Evaluation;
pub use flake::FlakeRepository;
pub use installation::{CacheVisibility, Installation, Programs};
pub use mail_server::{Mail, MailServer, MailServerSettings, MailServerTls};
pub use nix::NixInstall;
pub use nix_client::NixClient;
pub use oidc_provider::{OidcProvider, OidcProviderSettings};
pub use process::Process;
pub use programs::{Server, ServerSettings, Worker, WorkerSettings};
pub use s3_server::{S3Server, S3ServerSettings};

/// The name that Nix gives to this machine's system, such as `x86_64-linux`.
pub fn this_system() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}
