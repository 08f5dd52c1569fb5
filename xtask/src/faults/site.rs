//! A whole Gradient for one run, with the proxy between worker and server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::{
    CacheVisibility, Evaluation, FlakeRepository, Installation, NixInstall, Process, Programs, Server, Worker, WorkerSettings,
    this_system,
};
use rustix::process::{Pid, Signal, kill_process};

use super::disk::Disk;
use super::plan::Fault;
use super::proxy::Proxy;
use crate::bench::database::Database;
use crate::test::postgres::Postgres;

/// The name of the project.
const PROJECT: &str = "packages";

/// How long a program that has nothing to do may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Where Debian keeps the library that tells programs another time.
const FAKETIME: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];

/// Server, worker, and what is between and below them.
pub(super) struct Site {
    // Whatever uses something ends before it.
    pub(super) installation: Installation,
    pub(super) proxy: Proxy,
    pub(super) disk: Option<Disk>,
    pub(super) postgres: Option<Postgres>,
    folder: PathBuf,
    programs: Programs,
    worker_id: String,
    dead: Vec<Worker>,
}

impl Site {
    /// Starts all of it below `folder`, ready for this fault.
    pub(super) fn start(programs: &Programs, database: Database, fault: Option<Fault>, seed: u64, folder: &Path) -> Result<Self> {
        let postgres = (database == Database::Postgres).then(Postgres::start_lasting).transpose()?;
        let state = folder.join("server/state");
        let disk = match fault {
            Some(Fault::DiskFull) => Some(Disk::small(&state)?),
            Some(Fault::PowerLoss) => Some(Disk::powered(&state, &folder.join("disk"))?),
            _ => None,
        };
        let environment = if fault == Some(Fault::Clock) { clock(folder)? } else { Vec::new() };
        let url = postgres.as_ref().map(Postgres::url);
        let mut installation = Installation::start_with(programs, folder, url.as_deref(), environment)?;
        installation.register_user()?;
        installation.create_organization(CacheVisibility::Public)?;
        let worker_id = installation.register_worker()?.to_owned();
        let repository = FlakeRepository::create(&folder.join("repository"))?;
        for (name, text) in [("flake.nix", include_str!("flake.nix")), ("packages.nix", include_str!("packages.nix"))] {
            repository.write(name, text)?;
        }
        repository.commit("packages that take a while")?;
        installation.create_project(PROJECT, &repository.url(), &format!("packages.{}.*", this_system()))?;
        let proxy = Proxy::start(installation.server().url().trim_start_matches("http://"), seed)?;
        let (folder, programs) = (folder.to_path_buf(), programs.clone());
        let mut site = Self { installation, proxy, disk, postgres, folder, programs, worker_id, dead: Vec::new() };
        site.start_worker()?;
        Ok(site)
    }

    /// Starts the worker, which knows the proxy only, and waits until it is connected.
    pub(super) fn start_worker(&mut self) -> Result<()> {
        let environment = vec![("GRADIENT_WORKER_SERVER_URL", self.proxy_url())];
        self.installation.start_worker_with(&NixInstall::of_the_system(), environment)?;
        Ok(())
    }

    pub(super) fn evaluate(&self) -> Result<Evaluation> {
        Ok(self.installation.evaluate(PROJECT)?)
    }

    /// A second worker that believes to be the first.
    pub(super) fn start_twin(&self) -> Result<Worker> {
        let token = self.installation.worker_token().context("the worker has no token")?;
        Ok(Worker::start(&WorkerSettings {
            program: self.programs.worker.clone(),
            folder: self.folder.join("twin"),
            server_url: self.proxy_url(),
            worker_id: self.worker_id.clone(),
            peers: vec![("*".to_owned(), token.to_owned())],
            slots: 2,
            nix: NixInstall::of_the_system(),
            authority: None,
            environment: Vec::new(),
        })?)
    }

    /// Kills the worker's process, and it alone: what it has started has to notice.
    pub(super) fn kill_worker(&mut self) -> Result<()> {
        let mut worker = self.installation.forget_worker().context("no worker runs")?;
        signal(worker.process().id(), Signal::KILL)?;
        worker.process().wait(Duration::from_secs(10))?;
        self.dead.push(worker);
        Ok(())
    }

    pub(super) fn worker_process(&mut self) -> Result<u32> {
        Ok(self.installation.worker().context("no worker runs")?.process().id())
    }

    /// Asks the programs to end, the worker first, and says how each of them did.
    pub(super) fn end_programs(&mut self) -> Vec<Result<()>> {
        let worker = self.installation.worker().map(|worker| end("the worker", worker.process()));
        let server = end("the server", self.installation.server().process());
        worker.into_iter().chain([server]).collect()
    }

    /// Lets the server believe that it is that many seconds later or earlier.
    pub(super) fn set_clock(&self, seconds: i64) -> Result<()> {
        let (file, next) = (clock_file(&self.folder), self.folder.join("clock.next"));
        fs::write(&next, format!("{seconds:+}\n"))?;
        Ok(fs::rename(next, file)?)
    }

    /// A subcommand of the server, with its settings.
    pub(super) fn subcommand(&mut self, words: &[&str]) -> Result<Command> {
        let mut command = Server::command(self.installation.server().settings())?;
        command.args(words);
        Ok(command)
    }

    pub(super) fn worker_id(&self) -> &str {
        &self.worker_id
    }

    pub(super) fn repository_url(&self) -> String {
        format!("file://{}", self.folder.join("repository").display())
    }

    /// Writes derivations of these packages to the machine's store, where an evaluation leaves none.
    pub(super) fn instantiate<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<()> {
        let (home, repository) = (self.folder.join("instantiate"), self.folder.join("repository"));
        fs::create_dir_all(&home)?;
        fs::write(home.join("nix.conf"), "build-users-group =\n")?;
        let (folder, system) = (repository.display(), this_system());
        let expression =
            format!("import {folder}/packages.nix {{ system = \"{system}\"; nonce = builtins.readFile {folder}/nonce; }}");
        let mut command = NixInstall::of_the_system().command("nix-instantiate", &home);
        command.args(["--expr", &expression]).args(names.flat_map(|name| ["-A", name]));
        let output = command.output().context("starting nix-instantiate")?;
        if !output.status.success() {
            bail!("nix-instantiate: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn proxy_url(&self) -> String {
        format!("ws://{}/proto", self.proxy.address())
    }
}

/// Why this fault cannot be thrown on this machine.
pub(super) fn obstacle(fault: Fault) -> Option<&'static str> {
    match fault {
        Fault::DiskFull | Fault::PowerLoss if !crate::prerequisites::is_root() => Some("only root may mount a disk"),
        Fault::PowerLoss if !Path::new("/dev/loop-control").exists() => Some("there are no loop devices"),
        Fault::Clock if faketime().is_none() => Some("libfaketime is missing; on Debian: apt-get install libfaketime"),
        _ => None,
    }
}

fn end(what: &str, process: &mut Process) -> Result<()> {
    let status = process.stop(STOP_LIMIT)?;
    if !status.success() {
        bail!("{what} ended with {status}");
    }
    Ok(())
}

/// Sends a signal to a process that was started here.
pub(super) fn signal(process: u32, signal: Signal) -> Result<()> {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).context("no process has this id")?;
    Ok(kill_process(process, signal)?)
}

fn faketime() -> Option<&'static str> {
    FAKETIME.into_iter().find(|library| Path::new(library).is_file())
}

fn clock_file(folder: &Path) -> PathBuf {
    folder.join("clock")
}

/// Settings of a server whose clock can be changed while it runs.
fn clock(folder: &Path) -> Result<Vec<(&'static str, String)>> {
    let file = clock_file(folder);
    fs::create_dir_all(folder)?;
    fs::write(&file, "+0\n")?;
    Ok(vec![
        ("LD_PRELOAD", faketime().context("libfaketime is missing")?.to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}
