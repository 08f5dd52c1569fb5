use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{DeploymentError, process};

/// A commit takes milliseconds.
const GIT_LIMIT: Duration = Duration::from_mins(1);

/// A git repository with the project's flake of examples, each time with derivations that no store has seen.
#[derive(Debug)]
pub struct FlakeRepository {
    folder: PathBuf,
}

impl FlakeRepository {
    /// Copies `fixtures/flake` of this workspace to `folder`, makes its derivations new, and commits it on `main`.
    pub fn create(folder: &Path) -> Result<Self, DeploymentError> {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/flake");
        copy(&fixture, folder)?;
        let repository = Self { folder: folder.to_path_buf() };
        repository.git(&["init", "--quiet", "--initial-branch=main"])?;
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        repository.write("nonce", nonce.get(..12).unwrap_or(&nonce))?;
        repository.commit("packages of every kind")?;
        Ok(repository)
    }

    /// What a project names as its repository.
    pub fn url(&self) -> String {
        format!("file://{}", self.folder.display())
    }

    /// What makes its derivations new; the command line of the endless builder has it.
    pub fn nonce(&self) -> Result<String, DeploymentError> {
        fs::read_to_string(self.folder.join("nonce")).map_err(DeploymentError::io("reading the nonce"))
    }

    /// Writes a file of the work tree.
    pub fn write(&self, path: &str, text: &str) -> Result<(), DeploymentError> {
        let path = self.folder.join(path);
        fs::write(&path, text).map_err(DeploymentError::io(format!("writing {}", path.display())))
    }

    /// Commits everything and returns the commit's hash.
    pub fn commit(&self, message: &str) -> Result<String, DeploymentError> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])?;
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    fn git(&self, arguments: &[&str]) -> Result<String, DeploymentError> {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=Gradient", "-c", "user.email=gradient@example.org", "-c", "commit.gpgsign=false"]);
        // The user's own settings, hooks and templates are no part of this.
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.args(arguments).current_dir(&self.folder);
        let what = format!("git {}", arguments.first().unwrap_or(&""));
        let (status, output) = process::run(&what, &mut command, GIT_LIMIT)?;
        if status.success() { Ok(output) } else { Err(DeploymentError::Ended { what, status, output }) }
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), DeploymentError> {
    let doing = || DeploymentError::io(format!("copying {}", from.display()));
    fs::create_dir_all(to).map_err(doing())?;
    for entry in fs::read_dir(from).map_err(doing())? {
        let entry = entry.map_err(doing())?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target).map_err(doing())?;
        }
    }
    Ok(())
}
