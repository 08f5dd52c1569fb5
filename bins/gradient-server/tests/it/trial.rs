//! A whole Gradient for one test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gradient_test_support::PostgresDatabase;
use gradient_test_support::deployment::{
    CacheVisibility, DeploymentError, Evaluation, FlakeRepository, Installation, NixClient, NixInstall, Programs, Server,
    ServerSettings, this_system,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::commands::Ended;

/// Everything that these tests wait for takes seconds; this is for slow machines.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

pub(crate) type Outcome = Result<(), DeploymentError>;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

/// Where and with what a test runs.
pub(crate) struct Setting {
    pub(crate) database: Database,
    pub(crate) nix: NixInstall,
    pub(crate) cache: CacheVisibility,
    /// Further settings of the server, as variables.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Setting {
    /// The one of most tests: SQLite, the system's Nix, a public cache.
    pub(crate) fn usual() -> Self {
        let (database, cache) = (Database::Sqlite, CacheVisibility::Public);
        Self { database, nix: NixInstall::of_the_system(), cache, environment: Vec::new() }
    }
}

/// A server, a worker, a repository with a flake, and whoever may use them.
pub(crate) struct Trial {
    pub(crate) installation: Installation,
    pub(crate) repository: FlakeRepository,
    nix: NixInstall,
    environment: Vec<(&'static str, String)>,
    // Last, so that both programs have ended before their files and their database go.
    folder: TempDir,
    database: Option<PostgresDatabase>,
}

impl Trial {
    /// Starts all of it and waits until the worker is connected. `None`, with a line that says so, where there is no PostgreSQL.
    pub(crate) fn start(setting: &Setting) -> Result<Option<Self>, DeploymentError> {
        let Some(mut trial) = Self::without_worker(setting)? else { return Ok(None) };
        trial.installation.start_worker(&setting.nix)?;
        Ok(Some(trial))
    }

    /// The same in the usual setting.
    pub(crate) fn usual() -> Result<Self, DeploymentError> {
        let trial = Self::start(&Setting::usual())?;
        Ok(trial.expect("SQLite is always there"))
    }

    /// Starts all but the worker.
    pub(crate) fn without_worker(setting: &Setting) -> Result<Option<Self>, DeploymentError> {
        let database = match setting.database {
            Database::Sqlite => None,
            Database::Postgres => match gradient_test_support::postgres() {
                Some(database) => Some(database),
                None => return Ok(None),
            },
        };
        let folder = tempfile::Builder::new().prefix("gradient-trial-").tempdir().expect("a temporary folder");
        let repository = FlakeRepository::create(&folder.path().join("repository"))?;
        let (url, environment) = (database.as_ref().map(PostgresDatabase::url), setting.environment.clone());
        let mut installation = Installation::start_with(&programs(), folder.path(), url, environment)?;
        installation.register_user()?;
        installation.create_organization(setting.cache)?;
        installation.register_worker()?;
        let (nix, environment) = (setting.nix.clone(), setting.environment.clone());
        Ok(Some(Self { installation, repository, nix, environment, folder, database }))
    }

    /// Where all of it is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The base directory of the server.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("server/state")
    }

    /// The base directory of the worker.
    pub(crate) fn worker_state(&self) -> PathBuf {
        self.folder.path().join("worker/state")
    }

    /// The Nix that it is started with.
    pub(crate) fn nix(&self) -> &NixInstall {
        &self.nix
    }

    /// Runs a subcommand with the settings of the server.
    pub(crate) fn subcommand(&self, words: &[&str]) -> Ended {
        let settings = ServerSettings {
            program: programs().server,
            folder: self.folder.path().join("server"),
            database_url: self.database.as_ref().map(|database| database.url().to_owned()),
            hosted_worker: None,
            rate_limits: false,
            environment: self.environment.clone(),
        };
        let mut command = Server::command(&settings).unwrap();
        command.args(words);
        Ended::of(command, &self.folder.path().join("command.log"))
    }

    /// Makes a project of the flake, with this wildcard below one of its top-level sets for this machine's system.
    pub(crate) fn project(&self, name: &str, set: &str, wildcard: &str) -> Outcome {
        let wildcard = format!("{set}.{}.{wildcard}", this_system());
        self.installation.create_project(name, &self.repository.url(), &wildcard)
    }

    /// Makes a project and evaluates it.
    pub(crate) fn evaluate(&self, set: &str, wildcard: &str) -> Result<Evaluation, DeploymentError> {
        self.project("examples", set, wildcard)?;
        self.installation.evaluate("examples")
    }

    /// A Nix client that trusts this key and the trial's cache.
    pub(crate) fn client(&self, name: &str, public_key: &str) -> Result<NixClient, DeploymentError> {
        self.client_with(&self.nix, name, public_key)
    }

    /// The same with another Nix.
    pub(crate) fn client_with(&self, nix: &NixInstall, name: &str, public_key: &str) -> Result<NixClient, DeploymentError> {
        NixClient::create(nix, &self.folder.path().join(name), &self.installation.cache_url(), public_key)
    }

    /// Runs a test's body; when it fails, both logs are shown.
    pub(crate) fn run(mut self, body: impl FnOnce(&mut Self) -> Outcome) {
        if let Err(error) = body(&mut self) {
            let mut causes = String::new();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                causes = format!("{causes}\n  because {error}");
                cause = error.source();
            }
            panic!("{error}{causes}\n{}", self.installation.log_tails());
        }
        self.installation.stop().expect("a clean end");
    }
}

/// The programs, as cargo built them for this test.
pub(crate) fn programs() -> Programs {
    let server = Path::new(env!("CARGO_BIN_EXE_gradient-server"));
    let worker = server.with_file_name("gradient-worker");
    Programs { server: server.to_path_buf(), worker }
}

/// The build of the derivation with this name; it must be there.
pub(crate) fn build(evaluation: &Evaluation, name: &str) -> Result<Value, DeploymentError> {
    Ok(evaluation.build(name)?.unwrap_or_else(|| panic!("no build of {name}")))
}

/// Requires that a request was refused with this status and code, and returns the sentence.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, DeploymentError>, expected: (u16, &str)) -> String {
    match result {
        Err(DeploymentError::Refused { status, code, message, .. }) => {
            assert_eq!((status, code.as_str()), expected, "{message}");
            message
        }
        other => panic!("expected {expected:?}, got {other:?}"),
    }
}
