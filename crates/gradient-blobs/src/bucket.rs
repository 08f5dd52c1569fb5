//! The bucket of an object store that speaks S3.

mod conditional;
mod problem;
mod settings;
mod turns;
mod upload;

use std::{fmt, path::Path as FilePath, sync::Arc, time::Duration};

use bytes::Bytes;
use object_store::{
    ClientOptions, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
    signer::Signer,
};
use reqwest::Method;
use tokio::sync::Semaphore;

pub use problem::BucketProblem;
pub use settings::S3Settings;

use crate::{BlobError, BlobKey, Put, key::OnConflict};
use conditional::Connection;
use turns::Turns;

/// How long the server may take to take a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long it may take to take in a part, or to send the next piece.
const SILENCE: Duration = Duration::from_mins(1);

/// How often a request is tried again that failed for no fault of its own, and until when.
const RETRIES: usize = 5;
const RETRY_UNTIL: Duration = Duration::from_mins(2);

/// How long a presigned URL can be used. What began in time goes on.
const PRESIGNED_FOR: Duration = Duration::from_mins(5);

/// What opening the store writes, to find out whether it may, and what [`Bucket::ping`] reads.
const PROBE: &str = "gradient-probe";

/// How many parts of uploads are in memory at a time.
const PARTS_IN_MEMORY: usize = 4;

#[derive(Debug, Clone)]
pub(crate) struct Bucket(Arc<Inner>);

struct Inner {
    settings: S3Settings,
    /// Replaces what is there.
    replacing: AmazonS3,
    /// Completes a multipart upload only under a key that is free.
    keeping: AmazonS3,
    /// Whether the server heeds the condition that a key is free.
    heeds_conditions: bool,
    /// Whoever writes under a key that must be free is alone with it in this process.
    turns: Turns,
    parts: Semaphore,
}

/// A URL by which anybody can read one blob for some minutes. It is as good as a password: never log or keep it.
#[derive(Clone)]
pub struct PresignedUrl(String);

impl PresignedUrl {
    /// The URL.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresignedUrl(…)")
    }
}

impl Bucket {
    /// Opens it and finds out whether it can be read and written, and whether its server heeds conditions.
    pub(crate) async fn open(settings: S3Settings) -> Result<Self, BlobError> {
        let probe = settings.location(PROBE);
        let failed = |source| problem::failed(&settings, &probe, source);
        let client = client_options(&settings);
        let connection = Connection::open(&client).map_err(failed)?;
        let replacing = builder(&settings, client.clone()).with_http_connector(connection.clone()).build().map_err(failed)?;
        let keeping = builder(&settings, client).with_http_connector(connection.conditional()).build().map_err(failed)?;
        let written = replacing.put(&probe, Bytes::from_static(PROBE.as_bytes()).into()).await;
        written.map_err(failed)?;
        let heeds_conditions = heeds_conditions(&replacing, &probe).await.map_err(failed)?;
        let parts = Semaphore::new(PARTS_IN_MEMORY);
        let bucket = Self(Arc::new(Inner { settings, replacing, keeping, heeds_conditions, turns: Turns::default(), parts }));
        bucket.ping().await?;
        Ok(bucket)
    }

    /// What blobs are read from.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.0.replacing.clone())
    }

    /// The full name of a blob's object.
    pub(crate) fn location(&self, key: &BlobKey) -> Path {
        self.0.settings.location(key.as_str())
    }

    /// The full name of the object that something else than a blob has, or a folder.
    pub(crate) fn located(&self, name: &str) -> Path {
        self.0.settings.location(name)
    }

    pub(crate) fn heeds_conditions(&self) -> bool {
        self.0.heeds_conditions
    }

    /// Stores what is in memory, with one request.
    pub(crate) async fn put(&self, key: &BlobKey, bytes: Bytes) -> Result<Put, BlobError> {
        let _turn = self.turn(key).await;
        if key.on_conflict() == OnConflict::Keep && !self.heeds_conditions() && self.exists(key).await? {
            return Ok(Put::Existed);
        }
        self.put_at_once(key, bytes).await
    }

    /// Stores a file, whatever its size.
    pub(crate) async fn put_file(&self, key: &BlobKey, path: &FilePath) -> Result<Put, BlobError> {
        upload::put_file(self, key, path).await
    }

    /// A URL by which the blob can be read, when the server is set to give such URLs away.
    pub(crate) async fn presigned(&self, key: &BlobKey) -> Result<Option<PresignedUrl>, BlobError> {
        if !self.0.settings.presign {
            return Ok(None);
        }
        let url = self.0.replacing.signed_url(Method::GET, &self.location(key), PRESIGNED_FOR).await;
        url.map(|url| Some(PresignedUrl(url.into()))).map_err(|source| self.failed(&self.location(key), source))
    }

    /// Whether the bucket answers. It is read and not written, as that is cheaper.
    pub(crate) async fn ping(&self) -> Result<(), BlobError> {
        let probe = self.0.settings.location(PROBE);
        let read = self.0.replacing.get_opts(&probe, GetOptions::default()).await;
        read.map(|_| ()).map_err(|source| self.failed(&probe, source))
    }

    /// Makes a missing object `None`; a missing bucket is an error.
    pub(crate) fn found<T>(&self, key: &BlobKey, result: object_store::Result<T>) -> Result<Option<T>, BlobError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(source @ object_store::Error::NotFound { .. }) if !problem::is_no_such_bucket(&source) => Ok(None),
            Err(source) => Err(self.failed(&self.location(key), source)),
        }
    }

    /// What is said of a request that failed.
    pub(crate) fn failed(&self, location: &Path, source: object_store::Error) -> BlobError {
        problem::failed(&self.0.settings, location, source)
    }

    async fn put_at_once(&self, key: &BlobKey, bytes: Bytes) -> Result<Put, BlobError> {
        let mode = match key.on_conflict() {
            OnConflict::Keep if self.heeds_conditions() => PutMode::Create,
            OnConflict::Keep | OnConflict::Replace => PutMode::Overwrite,
        };
        let location = self.location(key);
        let put = self.0.replacing.put_opts(&location, bytes.into(), PutOptions::from(mode)).await;
        self.new_or_existed(key, put.map(|_| ()).map_err(|source| self.failed(&location, source))).await
    }

    /// Looks once more when the server says that there is such an object: it says so, too, of one that is only about to be made.
    async fn new_or_existed(&self, key: &BlobKey, put: Result<(), BlobError>) -> Result<Put, BlobError> {
        match put {
            Ok(()) => Ok(Put::New),
            Err(BlobError::Bucket { problem: BucketProblem::Exists, .. }) if self.exists(key).await? => Ok(Put::Existed),
            Err(error) => Err(error),
        }
    }

    async fn exists(&self, key: &BlobKey) -> Result<bool, BlobError> {
        Ok(self.found(key, self.0.replacing.head(&self.location(key)).await)?.is_some())
    }

    async fn turn(&self, key: &BlobKey) -> Option<turns::Turn<'_>> {
        match key.on_conflict() {
            OnConflict::Keep => Some(self.0.turns.take(key.as_str()).await),
            OnConflict::Replace => None,
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Whether a write is refused whose condition does not hold. Some servers do not know conditions, others ignore them.
async fn heeds_conditions(store: &AmazonS3, probe: &Path) -> object_store::Result<bool> {
    let again = store.put_opts(probe, Bytes::from_static(PROBE.as_bytes()).into(), PutOptions::from(PutMode::Create)).await;
    match again {
        Err(object_store::Error::AlreadyExists { .. }) => Ok(true),
        Err(error) if !problem::is_not_implemented(&error) => Err(error),
        Ok(_) | Err(_) => Ok(false),
    }
}

fn client_options(settings: &S3Settings) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(settings.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http"))
        .with_default_content_type("application/zstd")
        .with_connect_timeout(CONNECT)
        .with_read_timeout(SILENCE)
        // A NAR may take as long as its reader.
        .with_timeout_disabled()
}

fn builder(settings: &S3Settings, client: ClientOptions) -> AmazonS3Builder {
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_UNTIL, ..RetryConfig::default() };
    let builder = AmazonS3Builder::new()
        .with_bucket_name(&settings.bucket)
        .with_region(&settings.region)
        .with_access_key_id(&settings.access_key_id)
        .with_secret_access_key(&settings.secret_access_key)
        .with_client_options(client)
        .with_retry(retry)
        // Not every server can delete in bulk.
        .with_disable_bulk_delete(true);
    match &settings.endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint.as_str().trim_end_matches('/')),
        None => builder,
    }
}
