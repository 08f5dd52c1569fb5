use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::DeploymentError;

/// One of the Nix versions of this machine.
#[derive(Debug, Clone, Default)]
pub struct NixInstall {
    /// The folder of its programs; none for what the path has.
    programs: Option<PathBuf>,
}

impl NixInstall {
    /// The one on the path.
    pub fn of_the_system() -> Self {
        Self::default()
    }

    /// A newer one beside the system's, if this machine has it.
    pub fn newer() -> Option<Self> {
        let programs = PathBuf::from("/opt/nix/2.34/bin");
        programs.join("nix").is_file().then_some(Self { programs: Some(programs) })
    }

    /// The path on which its programs come first.
    pub fn path(&self) -> OsString {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        let mut folders: Vec<PathBuf> = self.programs.iter().cloned().collect();
        folders.extend(std::env::split_paths(&path));
        std::env::join_paths(folders).unwrap_or(path)
    }

    /// One of its programs with nothing of this process's environment, and all of Nix's own files below `home`.
    pub fn command(&self, program: &str, home: &Path) -> Command {
        let mut command =
            Command::new(self.programs.as_ref().map_or_else(|| PathBuf::from(program), |folder| folder.join(program)));
        self.isolate(&mut command, home);
        command
    }

    /// Gives a command an environment in which only this Nix, its configuration in `home/nix.conf`, and `home` exist.
    pub fn isolate(&self, command: &mut Command, home: &Path) {
        command.env_clear().env("PATH", self.path()).env("HOME", home).env("NIX_CONF_DIR", home).env("NIX_USER_CONF_FILES", "");
        for (name, folder) in
            [("XDG_CACHE_HOME", "cache"), ("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state")]
        {
            command.env(name, home.join(folder));
        }
    }
}

/// What every nix.conf here begins with: no network, no build users, no sandbox.
const BASE: &str = "experimental-features = nix-command flakes\nbuild-users-group =\nsandbox = false\nflake-registry =\n";

/// The configuration of a worker: it builds and substitutes nothing.
pub(crate) fn write_worker_conf(home: &Path) -> Result<(), DeploymentError> {
    write_conf(home, "substituters =\nmax-jobs = 2\nsystem-features = nixos-test benchmark big-parallel\n")
}

/// The configuration of a client: it builds nothing, and takes from one cache what that cache's key has signed.
pub(crate) fn write_client_conf(home: &Path, cache_url: &str, public_key: &str) -> Result<(), DeploymentError> {
    let settings = format!(
        "substituters = {cache_url}\ntrusted-public-keys = {public_key}\nrequire-sigs = true\nmax-jobs = 0\nnetrc-file = {}\n",
        home.join("netrc").display()
    );
    write_conf(home, &settings)
}

fn write_conf(home: &Path, settings: &str) -> Result<(), DeploymentError> {
    fs::create_dir_all(home).map_err(DeploymentError::io("making a home for Nix"))?;
    fs::write(home.join("nix.conf"), format!("{BASE}{settings}")).map_err(DeploymentError::io("writing nix.conf"))
}
