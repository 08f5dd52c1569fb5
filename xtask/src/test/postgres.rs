//! A PostgreSQL that exists for one test run.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::wait;
use tempfile::TempDir;

use crate::prerequisites;

/// How long it may take to accept connections.
const START_LIMIT: Duration = Duration::from_mins(1);

/// A server on a port of its own, with its files in a temporary folder; both end with this value.
pub(crate) struct Postgres {
    server: Child,
    port: u16,
    folder: TempDir,
}

impl Postgres {
    /// Makes a cluster and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        let programs = prerequisites::postgres_programs().context("PostgreSQL's programs are missing")?;
        let folder = tempfile::Builder::new().prefix("gradient-postgres-").tempdir()?;
        if prerequisites::is_root() {
            expect_success(Command::new("chown").arg("postgres").arg(folder.path()))?;
        }
        let data = folder.path().join("data");
        let mut initdb = as_postgres(&programs.join("initdb"));
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]);
        expect_success(&mut initdb)?;

        let port = free_port()?;
        let mut command = as_postgres(&programs.join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        // Nobody needs these data after a crash.
        for setting in ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=400"] {
            command.args(["-c", setting]);
        }
        let log = std::fs::File::create(folder.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let server = command.spawn().context("starting postgres")?;
        let mut started = Self { server, port, folder };
        started.wait_until_ready(&programs.join("pg_isready"))?;
        Ok(started)
    }

    /// Its URL, with the database that is always there.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Tells a test command where the server is, and that its absence would be a failure.
    pub(crate) fn offer_to(&self, tests: &mut Command) {
        tests.env("GRADIENT_TEST_POSTGRES_URL", self.url());
        tests.env("GRADIENT_TEST_REQUIRE_POSTGRES", "1");
    }

    fn wait_until_ready(&mut self, pg_isready: &Path) -> Result<()> {
        let port = self.port.to_string();
        wait::until("postgres to accept connections", START_LIMIT, || {
            if let Some(status) = self.server.try_wait()? {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("postgres ended at once with {status}: {}", log.trim());
            }
            let ready = Command::new(pg_isready).args(["-q", "-h", "127.0.0.1", "-p", &port]).status()?;
            Ok(ready.success().then_some(()))
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT is PostgreSQL's immediate shutdown: its children end too.
        if let Some(process) = i32::try_from(self.server.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::QUIT);
        }
        let _ = self.server.wait();
    }
}

/// PostgreSQL refuses to run as root. `setpriv` replaces itself with the program, so that signals reach it.
fn as_postgres(program: &Path) -> Command {
    if !prerequisites::is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program).current_dir("/");
    command
}

fn expect_success(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A port that nobody listens at just now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_answers_and_leaves_nothing_behind() {
        let postgres = Postgres::start().unwrap();
        let folder = postgres.folder.path().to_path_buf();
        let programs = prerequisites::postgres_programs().unwrap();
        let mut psql = Command::new(programs.join("psql"));
        psql.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &postgres.port.to_string(), "-Atc", "SELECT 40 + 2"]);
        assert_eq!(String::from_utf8_lossy(&psql.output().unwrap().stdout).trim(), "42");
        drop(postgres);
        assert!(!folder.exists());
    }
}
