//! A whole server in this process.

use std::{net::TcpListener, num::NonZeroUsize};

use gradient_api::{ApiSettings, RateLimits};
use gradient_auth::{JwtKeys, PasswordHasher, Sealer, SecretKeys};
use gradient_blobs::{Blobs, S3Settings};
use gradient_engine::{Engine, EngineSettings, Parts};
use gradient_forge::{Forge, ForgeSettings};
use gradient_storage::{DatabaseUrl, Storage, StorageSettings};
use tempfile::TempDir;

/// A server with a store in a temporary directory. It ends with the test's process.
pub(crate) struct Server {
    /// Where it listens, without a slash at the end.
    pub(crate) url: String,
    pub(crate) engine: Engine,
    /// The same database that the server has.
    pub(crate) storage: Storage,
    /// The same store.
    pub(crate) blobs: Blobs,
    pub(crate) http: reqwest::Client,
    _directory: TempDir,
}

impl Server {
    pub(crate) async fn start(database: &str) -> Self {
        Self::with_settings(database, ApiSettings { rate_limits: RateLimits::OFF, ..ApiSettings::default() }).await
    }

    /// One that may ask this machine and private networks.
    pub(crate) async fn with_local_network(database: &str) -> Self {
        Self::with_engine(database, EngineSettings { allow_local_repositories: true, ..EngineSettings::default() }).await
    }

    pub(crate) async fn with_settings(database: &str, settings: ApiSettings) -> Self {
        Self::launch(database, settings, EngineSettings::default()).await
    }

    /// One whose engine is set to this.
    pub(crate) async fn with_engine(database: &str, engine: EngineSettings) -> Self {
        Self::launch(database, ApiSettings { rate_limits: RateLimits::OFF, ..ApiSettings::default() }, engine).await
    }

    /// One whose store is a bucket.
    pub(crate) async fn with_bucket(database: &str, bucket: S3Settings) -> Self {
        install_cryptography();
        let directory = TempDir::new().unwrap();
        let blobs = Blobs::open_s3(bucket, directory.path()).await.unwrap();
        let settings = ApiSettings { rate_limits: RateLimits::OFF, ..ApiSettings::default() };
        Self::launch_on(database, settings, EngineSettings::default(), (blobs, directory)).await
    }

    async fn launch(database: &str, settings: ApiSettings, engine: EngineSettings) -> Self {
        let directory = TempDir::new().unwrap();
        let blobs = Blobs::open_directory(directory.path()).unwrap();
        Self::launch_on(database, settings, engine, (blobs, directory)).await
    }

    async fn launch_on(database: &str, settings: ApiSettings, engine: EngineSettings, store: (Blobs, TempDir)) -> Self {
        install_cryptography();
        let (blobs, directory) = store;
        let url: DatabaseUrl = database.parse().unwrap();
        let storage = Storage::connect(&url, StorageSettings::default()).await.unwrap();
        let keys = || SecretKeys::parse("0123456789abcdef0123456789abcdef").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let engine = Engine::start(Parts {
            storage: storage.clone(),
            blobs: blobs.clone(),
            forge: Forge::new(ForgeSettings { allow_local: engine.allow_local_repositories, ..ForgeSettings::default() }),
            jwt: JwtKeys::new(&keys()),
            sealer: Sealer::new(&keys()),
            passwords: PasswordHasher::new(NonZeroUsize::MIN, &mut rand::rng()).unwrap(),
            settings: EngineSettings { serve_url: url.clone(), ..engine },
        });
        let engine = engine.await.unwrap();
        tokio::spawn(gradient_api::serve(engine.clone(), settings, listener).unwrap());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, engine, storage, blobs, http, _directory: directory }
    }
}

fn install_cryptography() {
    // Fails only when another test has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
