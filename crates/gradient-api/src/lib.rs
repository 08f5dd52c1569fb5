//! Gradient over HTTP: the REST API under `/api/v1`, the binary cache at `/cache/{cache}/…`, the workers' socket at `/proto`.
//!
//! Every answer below `/api/v1` is an envelope; every handler's signature names the permission it takes; one exhaustive mapping
//! gives each error its status. What requests mean is the business of `gradient_engine`.
//!
//! ```
//! # use std::{net::TcpListener, num::NonZeroUsize};
//! # use gradient_auth::{JwtKeys, PasswordHasher, Sealer, SecretKeys};
//! # use gradient_blobs::Blobs;
//! # use gradient_engine::{Engine, EngineSettings, Parts};
//! # use gradient_forge::{Forge, ForgeSettings};
//! # use gradient_storage::{DatabaseUrl, Storage, StorageSettings};
//! use gradient_api::{ApiSettings, serve};
//!
//! # fn parts(storage: Storage, blobs: Blobs) -> Result<Parts, Box<dyn std::error::Error>> {
//! #     let keys = SecretKeys::parse("0123456789abcdef0123456789abcdef")?;
//! #     Ok(Parts {
//! #         storage,
//! #         blobs,
//! #         forge: Forge::new(ForgeSettings::default()),
//! #         jwt: JwtKeys::new(&keys),
//! #         sealer: Sealer::new(&keys),
//! #         passwords: PasswordHasher::new(NonZeroUsize::MIN, &mut rand::rng())?,
//! #         settings: EngineSettings::default(),
//! #     })
//! # }
//! # #[tokio::main(flavor = "multi_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let url = DatabaseUrl::sqlite(directory.path().join("gradient.db"));
//! # let storage = Storage::connect(&url, StorageSettings::default()).await?;
//! # let blobs = Blobs::open_directory(directory.path())?;
//! # let engine = Engine::start(parts(storage, blobs)?).await?;
//! # let _ = rustls::crypto::ring::default_provider().install_default();
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let health = format!("http://{}/api/v1/health", listener.local_addr()?);
//! let server = serve(engine, ApiSettings::default(), listener)?;
//! let handle = server.handle();
//! let running = tokio::spawn(server);
//!
//! assert_eq!(reqwest::get(health).await?.text().await?, r#"{"error":false,"message":"200 ALIVE"}"#);
//! handle.stop(true).await;
//! running.await??;
//! # Ok(())
//! # }
//! ```

mod body;
mod cache_root;
mod connections;
mod endpoints;
mod envelope;
mod error;
mod files;
mod metrics;
mod ndjson;
mod openapi;
mod patience;
mod rate_limit;
mod request_id;
mod routes;
mod scope;
mod serve;
mod standby;
mod tls;
mod worker_socket;
mod worker_transfer;

pub(crate) use error::ApiError;
pub use metrics::MetricsAccess;
pub use openapi::openapi;
pub use rate_limit::{RateLimit, RateLimitError, RateLimits, TrustedProxies, TrustedProxiesError};
pub use serve::{ApiSettings, serve, standby};
pub use tls::{Certificate, CertificateError};
