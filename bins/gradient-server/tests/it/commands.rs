//! The subcommands, while the server runs and while it does not.

mod backup;
mod reseal;
mod users;

use std::{fs, path::Path, process::Command, time::Duration};

use gradient_test_support::{
    PostgresDatabase,
    deployment::{Api, DeploymentError, Process, Server, ServerSettings},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::trial::{Database, programs};

/// Each takes less than a second; this is for slow machines.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);
pub(crate) const PASSWORD: &str = "Correct-Horse-7";

/// A place for a server, with its database.
pub(crate) struct Place {
    settings: ServerSettings,
    // Both go after whatever runs there.
    folder: TempDir,
    _database: Option<PostgresDatabase>,
}

/// How a subcommand ended, and what it printed on both outputs.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

impl Place {
    /// `None`, with a line that says so, where there is no PostgreSQL.
    pub(crate) fn on(database: Database) -> Option<Self> {
        let database = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(gradient_test_support::postgres()?),
        };
        let folder = tempfile::tempdir().unwrap();
        let settings = ServerSettings {
            program: programs().server,
            folder: folder.path().to_path_buf(),
            database_url: database.as_ref().map(|database| database.url().to_owned()),
            hosted_worker: None,
            rate_limits: false,
            environment: Vec::new(),
        };
        Some(Self { settings, folder, _database: database })
    }

    pub(crate) fn sqlite() -> Self {
        Self::on(Database::Sqlite).unwrap()
    }

    pub(crate) fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn serve(&self) -> Server {
        Server::start(&self.settings).unwrap()
    }

    /// Runs a subcommand with the settings of the server. The password comes from a file.
    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        let mut command = Server::command(&self.settings).unwrap();
        command.args(words);
        self.end(command)
    }

    /// The same with a text on standard input.
    fn run_with_input(&self, words: &[&str], input: &str) -> Ended {
        let file = self.path().join("input");
        fs::write(&file, input).unwrap();
        let mut command = Command::new("/bin/sh");
        let server = Server::command(&self.settings).unwrap();
        command.env_clear().envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.path()).args(["-c", "input=$1; shift; exec \"$@\" < \"$input\"", "sh"]).arg(file);
        command.arg(server.get_program()).args(words);
        self.end(command)
    }

    fn end(&self, command: Command) -> Ended {
        Ended::of(command, &self.path().join("command.log"))
    }

    pub(crate) fn password_file(&self, password: &str) -> String {
        let file = self.path().join("password");
        fs::write(&file, format!("{password}\n")).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

impl Ended {
    /// Runs a command to its end, with its outputs in a file.
    pub(crate) fn of(mut command: Command, log: &Path) -> Self {
        let _ = fs::remove_file(log);
        let mut process = Process::spawn("a subcommand", &mut command, log).unwrap();
        let code = process.wait(LIMIT).unwrap().code();
        Self { code, output: fs::read_to_string(log).unwrap() }
    }

    /// What it said; it has to have gone well.
    #[track_caller]
    pub(crate) fn said(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.output);
        self.output
    }

    /// The one sentence with which it failed.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.output);
        assert_eq!(self.output.trim_end().lines().count(), 1, "{}", self.output);
        assert!(self.output.starts_with("gradient-server: "), "{}", self.output);
        self.output
    }
}

/// Signs in; the answer is a client with the session.
pub(crate) fn login(server: &Server, user: &str, password: &str) -> Result<Api, DeploymentError> {
    let answer = server.api().post("/auth/basic/login", &json!({"loginname": user, "password": password}))?;
    Ok(server.api().with_token(answer.as_str().unwrap()))
}

fn user(api: &Api) -> Value {
    api.get("/user").unwrap()
}
