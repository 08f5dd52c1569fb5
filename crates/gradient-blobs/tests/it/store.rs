use std::{fs, path::Path};

use bytes::Bytes;
use futures_util::TryStreamExt;
use gradient_blobs::{Blob, BlobKey, Blobs, S3Settings};
use gradient_nix::NarHash;
use gradient_test_support::deployment::{S3Server, S3ServerSettings};
use tempfile::TempDir;

/// Makes two tests of an async function that takes a [`Store`]: `<name>::directory` and `<name>::bucket`.
#[macro_export]
macro_rules! both_stores {
    ($($body:ident),+ $(,)?) => {
        $(
            mod $body {
                #[tokio::test]
                async fn directory() {
                    super::$body(&$crate::store::Store::directory()).await;
                }

                #[tokio::test]
                async fn bucket() {
                    if let Some(store) = $crate::store::Store::bucket(Default::default()).await {
                        super::$body(&store).await;
                    }
                }
            }
        )+
    };
}

/// A store that is gone after the test.
pub(crate) struct Store {
    pub(crate) blobs: Blobs,
    pub(crate) server: Option<S3Server>,
    pub(crate) folder: TempDir,
}

impl Store {
    pub(crate) fn directory() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_directory(folder.path().join("made/on/demand")).unwrap();
        Self { blobs, server: None, folder }
    }

    /// In a bucket; `None`, with a line that says so, where there is no program of a server.
    pub(crate) async fn bucket(settings: S3ServerSettings) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let server = S3Server::start(folder.path(), settings).unwrap()?;
        let blobs = open(&server, folder.path()).await;
        Some(Self { blobs, server: Some(server), folder })
    }

    pub(crate) fn server(&self) -> &S3Server {
        self.server.as_ref().unwrap()
    }

    /// The same bucket, as another process has it.
    pub(crate) async fn once_more(&self) -> Blobs {
        open(self.server(), self.folder.path()).await
    }
}

async fn open(server: &S3Server, folder: &Path) -> Blobs {
    install_cryptography();
    Blobs::open_s3(settings(&server.endpoint()), folder.join("made/on/demand")).await.unwrap()
}

/// The server's bucket, as whoever may use it.
pub(crate) fn settings(endpoint: &str) -> S3Settings {
    S3Settings {
        bucket: S3Server::BUCKET.into(),
        region: "us-east-1".into(),
        endpoint: Some(endpoint.parse().unwrap()),
        prefix: "a/prefix".into(),
        access_key_id: S3Server::ACCESS_KEY.into(),
        secret_access_key: S3Server::SECRET_KEY.into(),
        presign: false,
    }
}

/// The programs do it when they start.
pub(crate) fn install_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub(crate) fn nar(number: u8) -> BlobKey {
    BlobKey::nar(&NarHash([number; 32]))
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

pub(crate) async fn bytes(blob: Blob) -> Vec<u8> {
    blob.stream.try_collect::<Vec<Bytes>>().await.unwrap().concat()
}
