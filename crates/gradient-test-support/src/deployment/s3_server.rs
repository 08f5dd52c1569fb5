use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::{DeploymentError, Process};

/// Starting it takes no time; this is for slow machines.
const LIMIT: Duration = Duration::from_mins(1);

/// What an S3-compatible server is started with.
#[derive(Debug, Clone, Copy)]
pub struct S3ServerSettings {
    /// Whether it heeds the condition that a key is free. Some servers ignore it.
    pub conditions: bool,
    /// The part of every multipart upload that never gets an answer.
    pub unanswered_part: Option<u32>,
    /// The part of every multipart upload that is refused.
    pub refused_part: Option<u32>,
}

impl Default for S3ServerSettings {
    fn default() -> Self {
        Self { conditions: true, unanswered_part: None, refused_part: None }
    }
}

/// A real S3-compatible server, with one bucket, whose objects are files. It checks signatures.
#[derive(Debug)]
pub struct S3Server {
    _process: Process,
    folder: PathBuf,
    port: u16,
}

impl S3Server {
    /// The bucket that there is.
    pub const BUCKET: &str = "blobs";
    /// The access key that it knows.
    pub const ACCESS_KEY: &str = "gradient-tests";
    /// The secret of that key.
    pub const SECRET_KEY: &str = "a/secret+of=tests";

    /// Starts one with its files below `folder`; `None`, with a line that says so, where the program is not installed.
    pub fn start(folder: &Path, settings: S3ServerSettings) -> Result<Option<Self>, DeploymentError> {
        let Some(program) = crate::package("GRADIENT_TEST_S3_SERVER") else { return Ok(None) };
        let objects = folder.join("objects");
        fs::create_dir_all(&objects).map_err(DeploymentError::io(format!("making {}", objects.display())))?;
        let given = json!({
            "folder": objects,
            "bucket": Self::BUCKET,
            "access_key": Self::ACCESS_KEY,
            "secret_key": Self::SECRET_KEY,
            "conditions": settings.conditions,
            "unanswered_part": settings.unanswered_part,
            "refused_part": settings.refused_part,
        });
        let mut command = Command::new(program);
        command.env("SETTINGS", given.to_string());
        let mut process = Process::spawn("the S3-compatible server", &mut command, &folder.join("s3-server.log"))?;
        let port = process.wait_for_line("listening: ", LIMIT)?;
        let port = port.parse().map_err(|_| DeploymentError::TimedOut { what: format!("a port, not {port}"), limit: LIMIT })?;
        Ok(Some(Self { _process: process, folder: objects, port }))
    }

    /// Where it listens, under the name that this machine has for itself.
    pub fn endpoint(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The file of an object.
    pub fn object(&self, key: &str) -> PathBuf {
        self.folder.join(Self::BUCKET).join(key)
    }

    /// The parts of uploads that are neither completed nor aborted, and what else it knows of them.
    pub fn incomplete_uploads(&self) -> Result<Vec<PathBuf>, DeploymentError> {
        let read = || -> std::io::Result<Vec<PathBuf>> {
            let entries = fs::read_dir(&self.folder)?.collect::<std::io::Result<Vec<_>>>()?;
            let paths = entries.into_iter().map(|entry| entry.path());
            Ok(paths.filter(|path| path.to_string_lossy().contains("/.upload")).collect())
        };
        read().map_err(DeploymentError::io(format!("reading {}", self.folder.display())))
    }

    /// Removes the bucket with all that is in it, behind everybody's back.
    pub fn remove_bucket(&self) -> Result<(), DeploymentError> {
        let bucket = self.folder.join(Self::BUCKET);
        fs::remove_dir_all(&bucket).map_err(DeploymentError::io(format!("removing {}", bucket.display())))
    }
}
