use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::nix::write_client_conf;
use super::{DeploymentError, NixInstall, process};

/// Nix tries a cache that does not answer several times.
const CLIENT_LIMIT: Duration = Duration::from_mins(3);

/// A Nix client with an empty store that trusts one binary cache and nothing else.
#[derive(Debug)]
pub struct NixClient {
    nix: NixInstall,
    home: PathBuf,
    store: PathBuf,
    authority: Option<PathBuf>,
}

impl NixClient {
    /// Makes its folders below `folder`.
    pub fn create(nix: &NixInstall, folder: &Path, cache_url: &str, public_key: &str) -> Result<Self, DeploymentError> {
        let client = Self { nix: nix.clone(), home: folder.join("home"), store: folder.join("store"), authority: None };
        write_client_conf(&client.home, cache_url, public_key)?;
        fs::create_dir_all(&client.store).map_err(DeploymentError::io("making an empty store"))?;
        Ok(client)
    }

    /// The same, which trusts the certificates in this file instead of the system's.
    #[must_use]
    pub fn trusting(self, authority: &Path) -> Self {
        Self { authority: Some(authority.to_path_buf()), ..self }
    }

    /// What Nix says of the paths that it substitutes, down to what its HTTP client says.
    pub fn substitute_aloud(&self, paths: &[String], options: &[&str]) -> Result<String, DeploymentError> {
        let arguments: Vec<&str> = ["--realise", "-vvvvvv"].into_iter().chain(options.iter().copied()).collect();
        self.run("nix-store", &arguments, paths)
    }

    /// Gives it a password for a host (HTTP Basic, from the netrc file).
    pub fn log_in(&self, host: &str, user: &str, password: &str) -> Result<(), DeploymentError> {
        let line = format!("machine {host} login {user} password {password}\n");
        fs::write(self.home.join("netrc"), line).map_err(DeploymentError::io("writing a netrc file"))
    }

    /// Substitutes store paths with everything that they refer to.
    pub fn substitute(&self, paths: &[String]) -> Result<(), DeploymentError> {
        self.run("nix-store", &["--realise"], paths).map(drop)
    }

    /// Evaluates an attribute of a flake, and substitutes what it is, which may be known by what the cache says only; where it is.
    pub fn substitute_attribute(&self, flake: &str, attribute: &str) -> Result<Vec<String>, DeploymentError> {
        const FEATURE: [&str; 2] = ["--extra-experimental-features", "ca-derivations"];
        let paths = |output: String| -> Vec<String> {
            output.lines().filter(|line| line.starts_with("/nix/store/")).map(str::to_owned).collect()
        };
        let evaluate = [&["eval", "--raw"], FEATURE.as_slice()].concat();
        let derivation = paths(self.run("nix", &evaluate, &[format!("{flake}#{attribute}.drvPath")])?);
        Ok(paths(self.run("nix-store", &[FEATURE.as_slice(), &["--realise"]].concat(), &derivation)?))
    }

    /// The paths that these refer to, themselves included, as the client's store knows them.
    pub fn closure(&self, paths: &[String]) -> Result<Vec<String>, DeploymentError> {
        let output = self.run("nix-store", &["--query", "--requisites"], paths)?;
        Ok(output.lines().filter(|line| line.starts_with("/nix/store/")).map(str::to_owned).collect())
    }

    /// Reads every file of the store again and compares it with its hash.
    pub fn verify_contents(&self) -> Result<(), DeploymentError> {
        self.run("nix-store", &["--verify", "--check-contents"], &[]).map(drop)
    }

    /// Checks that each of the paths, and what it refers to, carries a signature of a trusted key.
    pub fn verify_signatures(&self, paths: &[String]) -> Result<(), DeploymentError> {
        self.run("nix", &["store", "verify", "--recursive", "--sigs-needed", "1"], paths).map(drop)
    }

    /// The log that the cache has of what made this path (`nix log`).
    pub fn log(&self, cache_url: &str, path: &str) -> Result<String, DeploymentError> {
        let mut command = self.nix.command("nix", &self.home);
        command.args(["log", "--store", cache_url, path]);
        finish("nix log", &mut command)
    }

    /// Where a file of the store really lies.
    pub fn real_path(&self, path: &str) -> PathBuf {
        self.store.join(path.trim_start_matches('/'))
    }

    /// Runs a program out of the store and returns what it prints.
    pub fn execute(&self, path: &str) -> Result<String, DeploymentError> {
        let mut command = Command::new(self.real_path(path));
        command.env_clear().env("PATH", "/usr/bin:/bin");
        finish(path, &mut command)
    }

    fn run(&self, program: &str, arguments: &[&str], paths: &[String]) -> Result<String, DeploymentError> {
        let mut command = self.nix.command(program, &self.home);
        if let Some(authority) = &self.authority {
            command.env("NIX_SSL_CERT_FILE", authority);
        }
        command.args(arguments).arg("--store").arg(&self.store).args(paths);
        finish(&format!("{program} {}", arguments.join(" ")), &mut command)
    }
}

fn finish(what: &str, command: &mut Command) -> Result<String, DeploymentError> {
    let (status, output) = process::run(what, command, CLIENT_LIMIT)?;
    if status.success() { Ok(output) } else { Err(DeploymentError::Ended { what: what.to_owned(), status, output }) }
}
