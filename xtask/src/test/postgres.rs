//! A PostgreSQL that exists for one test run.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::wait;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::prerequisites;

/// How long it may take to accept connections.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How long its processes may take to be gone once they are killed.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A server on a port of its own, with its files in a temporary folder; both end with this value.
pub(crate) struct Postgres {
    server: Child,
    port: u16,
    settings: &'static [&'static str],
    folder: TempDir,
}

/// Nobody needs the data of a test after a crash.
const FLEETING: &[&str] = &["fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=400"];

/// What is committed is there after its processes were killed; only the machine must not crash.
const LASTING: &[&str] = &["fsync=off", "full_page_writes=off", "max_connections=100"];

/// What is committed stays committed, whatever happens: as PostgreSQL is by default.
const DURABLE: &[&str] = &["max_connections=100"];

impl Postgres {
    /// Makes a cluster and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(FLEETING)
    }

    /// Makes one that loses nothing when it is killed.
    pub(crate) fn start_lasting() -> Result<Self> {
        Self::start_with(LASTING)
    }

    /// Makes one that waits for the disk.
    pub(crate) fn start_durable() -> Result<Self> {
        Self::start_with(DURABLE)
    }

    /// Makes one that waits for the disk that this folder is on, which is another than the machine's.
    pub(crate) fn start_durable_in(parent: &Path) -> Result<Self> {
        Self::start_in(DURABLE, parent)
    }

    fn start_with(settings: &'static [&'static str]) -> Result<Self> {
        Self::start_in(settings, &std::env::temp_dir())
    }

    fn start_in(settings: &'static [&'static str], parent: &Path) -> Result<Self> {
        let programs = prerequisites::postgres_programs().context("PostgreSQL's programs are missing")?;
        let folder = tempfile::Builder::new().prefix("gradient-postgres-").tempdir_in(parent)?;
        if prerequisites::is_root() {
            expect_success(Command::new("chown").arg("postgres").arg(folder.path()))?;
        }
        let data = folder.path().join("data");
        let mut initdb = as_postgres(&programs.join("initdb"));
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]);
        expect_success(&mut initdb)?;

        let port = free_port()?;
        let server = spawn(folder.path(), port, settings)?;
        let mut started = Self { server, port, settings, folder };
        started.wait_until_ready(&programs.join("pg_isready"))?;
        Ok(started)
    }

    /// Ends it without a chance to put anything in order. Its children end when they notice.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.server.kill()?;
        self.server.wait()?;
        Ok(())
    }

    /// Ends all of its processes at once, and returns when none of them has a file open any more.
    pub(crate) fn kill_all(&mut self) -> Result<()> {
        // While it stands still it starts no more of them.
        self.signal(Signal::STOP);
        let server = self.server.id();
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children"))?;
        let children: Vec<i32> = children.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        for child in children.iter().copied().filter_map(Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = kill_process(child, Signal::KILL);
        }
        self.kill()?;
        wait::until("the end of postgres' processes", END_LIMIT, || Ok(children.iter().all(|child| !lives(*child)).then_some(())))
    }

    /// Ends it in good order, whoever is connected.
    pub(crate) fn shut_down(&mut self) -> Result<()> {
        self.signal(Signal::INT);
        self.server.wait()?;
        Ok(())
    }

    /// Starts it again, with what it had.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        let programs = prerequisites::postgres_programs().context("PostgreSQL's programs are missing")?;
        let pg_isready = programs.join("pg_isready");
        wait::until("postgres to start again", START_LIMIT, || {
            // It refuses to as long as children of the killed one live.
            self.server = spawn(self.folder.path(), self.port, self.settings)?;
            Ok(self.wait_until_ready(&pg_isready).ok())
        })
    }

    /// Its URL, with the database that is always there.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Tells a test command where the server is, that its absence would be a failure, and that all on it goes with it.
    pub(crate) fn offer_to(&self, tests: &mut Command) {
        tests.env("GRADIENT_TEST_POSTGRES_URL", self.url());
        tests.env("GRADIENT_TEST_POSTGRES_IS_THROWAWAY", "1");
        tests.env("GRADIENT_TEST_REQUIRE_POSTGRES", "1");
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = i32::try_from(self.server.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(process, signal);
        }
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
        self.signal(Signal::QUIT);
        let _ = self.server.wait();
    }
}

/// Whether a process still runs, or ends just now. Of one that nobody asks how it ended only the name is left.
fn lives(process: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

fn spawn(folder: &Path, port: u16, settings: &[&str]) -> Result<Child> {
    let programs = prerequisites::postgres_programs().context("PostgreSQL's programs are missing")?;
    let mut command = as_postgres(&programs.join("postgres"));
    command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    for setting in settings {
        command.args(["-c", setting]);
    }
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("starting postgres")
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
