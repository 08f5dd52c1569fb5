//! The settings of the bucket.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use gradient_blobs::S3Settings;
use gradient_worker::WrongSetting;

use super::secret::{self, SecretText};

#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "the fields are the names of the flags")]
#[command(next_help_heading = "NARs and logs in an S3-compatible bucket")]
pub(crate) struct S3Arguments {
    /// The bucket for NARs, their listings and logs; without one they are in the directory store of the base directory. It has to be
    /// there.
    #[arg(long, env = "GRADIENT_S3_BUCKET", value_name = "NAME")]
    s3_bucket: Option<String>,

    /// The region of the bucket, as its server calls it.
    #[arg(long, env = "GRADIENT_S3_REGION", value_name = "REGION", default_value = "us-east-1")]
    s3_region: String,

    /// The URL of the bucket's server, without the bucket [default: Amazon's in the region].
    #[arg(long, env = "GRADIENT_S3_ENDPOINT", value_name = "URL")]
    s3_endpoint: Option<String>,

    /// The folder of the bucket that everything is in, and nothing else [default: the bucket's top].
    #[arg(long, env = "GRADIENT_S3_PREFIX", value_name = "FOLDER", default_value = "", hide_default_value = true)]
    s3_prefix: String,

    /// The id of the access key.
    #[arg(long, env = "GRADIENT_S3_ACCESS_KEY_ID", value_name = "ID")]
    s3_access_key_id: Option<String>,

    /// The secret of the access key.
    #[arg(
        long,
        env = "GRADIENT_S3_SECRET_ACCESS_KEY",
        value_name = "SECRET",
        hide_env_values = true,
        conflicts_with = "s3_secret_access_key_file"
    )]
    s3_secret_access_key: Option<SecretText>,

    /// A file that holds the secret of the access key.
    #[arg(long, env = "GRADIENT_S3_SECRET_ACCESS_KEY_FILE", value_name = "FILE")]
    s3_secret_access_key_file: Option<PathBuf>,

    /// Whether clients of a binary cache are sent to the bucket's server for NARs, with a URL that lets anybody read that NAR for
    /// five minutes. They have to reach the server under the URL of the endpoint.
    #[arg(long, env = "GRADIENT_S3_PRESIGN", value_name = "BOOL", default_value_t = false, action = ArgAction::Set)]
    s3_presign: bool,
}

impl S3Arguments {
    /// The bucket, if there is one.
    pub(crate) fn settings(&self) -> Result<Option<S3Settings>, WrongSetting> {
        let Some(bucket) = self.s3_bucket.clone().filter(|bucket| !bucket.is_empty()) else {
            return match (&self.s3_endpoint, &self.s3_access_key_id, self.s3_presign) {
                (None, None, false) => Ok(None),
                _ => Err(WrongSetting::new("GRADIENT_S3_BUCKET", "is not set, but other settings of a bucket are")),
            };
        };
        let access_key_id = self.s3_access_key_id.clone().filter(|id| !id.is_empty()).ok_or_else(|| {
            WrongSetting::new("GRADIENT_S3_ACCESS_KEY_ID", "is not set: expected the id of an access key for the bucket")
        })?;
        let file = ("GRADIENT_S3_SECRET_ACCESS_KEY_FILE", self.s3_secret_access_key_file.as_deref());
        let secret_access_key = secret::read(self.s3_secret_access_key.as_ref(), file)?.ok_or_else(|| {
            let wrong = "is not set: expected a file with the secret of the access key";
            WrongSetting::new("GRADIENT_S3_SECRET_ACCESS_KEY_FILE", wrong)
        })?;
        let endpoint = self.s3_endpoint.as_deref().map(|url| {
            S3Settings::endpoint(url).ok_or_else(|| {
                let wrong = format!("is `{url}`: expected http:// or https://, a host and perhaps a port");
                WrongSetting::new("GRADIENT_S3_ENDPOINT", &wrong)
            })
        });
        Ok(Some(S3Settings {
            bucket,
            region: self.s3_region.clone(),
            endpoint: endpoint.transpose()?,
            prefix: self.s3_prefix.clone(),
            access_key_id,
            secret_access_key: secret_access_key.expose().clone(),
            presign: self.s3_presign,
        }))
    }
}
