use std::fmt;

use object_store::path::Path;
use url::Url;

/// Where a bucket is, and as whom it is used.
#[derive(Clone)]
pub struct S3Settings {
    /// The bucket's name. It has to be there.
    pub bucket: String,
    /// The region that it is in.
    pub region: String,
    /// Its server, when it is not Amazon's: the bucket is the first part of the path there.
    pub endpoint: Option<Url>,
    /// What the names of all objects begin with, as a folder; nothing when it is empty.
    pub prefix: String,
    /// The access key.
    pub access_key_id: String,
    /// What proves it.
    pub secret_access_key: String,
    /// Whether [`Blobs::presigned`](crate::Blobs::presigned) gives URLs away.
    pub presign: bool,
}

impl S3Settings {
    /// The URL of a server; `None` when it is none.
    pub fn endpoint(text: &str) -> Option<Url> {
        let url: Url = text.parse().ok()?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        (["http", "https"].contains(&url.scheme()) && url.has_host() && is_plain).then_some(url)
    }

    /// The name of an object.
    pub(crate) fn location(&self, key: &str) -> Path {
        Path::from(format!("{}/{key}", self.prefix))
    }

    /// The server, as it is named in errors.
    pub(crate) fn server(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.to_string(),
            None => format!("Amazon S3 in {}", self.region),
        }
    }
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Settings")
            .field("bucket", &self.bucket)
            .field("server", &self.server())
            .field("prefix", &self.prefix)
            .field("presign", &self.presign)
            .finish_non_exhaustive()
    }
}
