//! All SQL, on PostgreSQL and on SQLite, and nothing but SQL.
//!
//! A [`Storage`] is the database; a [`Conn`] is one connection to it. The modules are named after what they keep; their
//! functions take `&mut Conn` first, so that several of them compose in one transaction. `find` must hit, `lookup` may miss,
//! `list` and `page` read many; `claim` inserts or answers what is there.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! use gradient_storage::{Conn, DatabaseUrl, Storage, StorageSettings, settings};
//!
//! let url = DatabaseUrl::sqlite(directory.path().join("gradient.db"));
//! let storage = Storage::connect(&url, StorageSettings::default()).await?;
//! let kept = storage
//!     .transaction(async |conn: &mut Conn| {
//!         settings::insert_once(conn, "colour", "green").await?;
//!         settings::insert_once(conn, "colour", "blue").await
//!     })
//!     .await?;
//! assert_eq!(kept, "green");
//! # Ok::<(), gradient_storage::StorageError>(())
//! # })?;
//! # Ok(())
//! # }
//! ```

#![allow(unused_braces, reason = "a query's body is a block, also where it happens to fit one line")]

mod backup;
mod columns;
mod conn;
mod counters;
mod error;
mod functions;
mod group;
mod inline;
mod leadership;
mod migrations;
mod pools;
mod schema;
mod storage;
mod url;

pub mod api_keys;
pub mod attempts;
pub mod build_durations;
pub mod builds;
pub mod cache_keys;
pub mod cache_logs;
pub mod cache_paths;
pub mod cache_pins;
pub mod cache_realisations;
pub mod cache_retention;
pub mod cache_signatures;
pub mod cache_statistics;
pub mod caches;
pub mod chunked_uploads;
pub mod commits;
pub mod debuginfo;
pub mod derivations;
pub mod email_verifications;
pub mod evaluations;
pub mod ifd_builds;
pub mod logs;
pub mod nars;
pub mod oidc_identities;
pub mod organizations;
pub mod paths;
pub mod pending_paths;
pub mod projects;
pub mod realisations;
pub mod remains;
pub mod roles;
pub mod sealed;
pub mod sessions;
pub mod settings;
pub mod subscriptions;
pub mod uploaded_logs;
pub mod uploaded_nars;
pub mod users;
pub mod verification;
pub mod workers;

pub use backup::{BackupError, backup};
pub use columns::{Digest, FeatureList, PathHash, PathHashList, PathList, SignatureList};
pub use conn::{AsyncTask, Conn, PostgresConn, SqliteConn};
pub use error::StorageError;
pub use leadership::Deposed;
pub use pools::PoolUsage;
pub use storage::{Storage, StorageSettings};
pub use url::{DatabaseUrl, DatabaseUrlError};
