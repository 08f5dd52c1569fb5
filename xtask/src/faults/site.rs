//! A whole Gradient for one run, with the proxy between worker and server.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
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
use super::leaders;
use super::own_store;
use super::plan::Fault;
use super::proxy::Proxy;
use crate::bench::database::Database;
use crate::test::postgres::Postgres;

/// Where the worker's own disk is mounted, below the folder.
const WORKER_DISK: &str = "worker-disk";

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
    /// The other server on the database, if there is one.
    standby: Option<Server>,
    pub(super) proxy: Proxy,
    pub(super) postgres: Option<Postgres>,
    /// The disk that the fault is about.
    pub(super) disk: Option<Disk>,
    /// Where the worker's disk is, if it has one of its own.
    worker_disk: Option<PathBuf>,
    folder: PathBuf,
    programs: Programs,
    worker_id: String,
    dead: Vec<Worker>,
}

impl Site {
    /// Starts all of it below `folder`, ready for this fault.
    pub(super) fn start(programs: &Programs, database: Database, fault: Option<Fault>, seed: u64, folder: &Path) -> Result<Self> {
        let (disk, postgres) = ground(database, fault, folder)?;
        let worker_disk = (fault == Some(Fault::WorkerDiskFull)).then(|| folder.join(WORKER_DISK));
        let programs = match &worker_disk {
            Some(place) => own_store::on(place, folder, programs)?,
            None => programs.clone(),
        };
        let environment = if fault == Some(Fault::Clock) { clock(folder)? } else { Vec::new() };
        let url = postgres.as_ref().map(Postgres::url);
        let mut installation = Installation::start_with(&programs, folder, url.as_deref(), environment)?;
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
        let has_two = matches!(fault, Some(Fault::LeaderKilled | Fault::LeaderStopped));
        let standby = has_two.then(|| leaders::standby(&mut installation, folder)).transpose()?;
        let (folder, dead) = (folder.to_path_buf(), Vec::new());
        let mut site = Self { installation, standby, proxy, postgres, disk, worker_disk, folder, programs, worker_id, dead };
        site.start_worker()?;
        Ok(site)
    }

    /// Starts the worker, which knows the proxy only, and waits until it is connected.
    pub(super) fn start_worker(&mut self) -> Result<()> {
        let mut environment = vec![("GRADIENT_WORKER_SERVER_URL", self.proxy_url())];
        if self.worker_disk.is_some() {
            environment.push(("GRADIENT_WORKER_MIN_FREE_DISK_BYTES", own_store::MIN_FREE_BYTES.to_string()));
        }
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

    /// The server that does not lead.
    pub(super) fn standby(&mut self) -> Result<&mut Server> {
        self.standby.as_mut().context("there is no second server")
    }

    /// Turns everybody to the second server: it is the first from now on.
    pub(super) fn put_standby_first(&mut self) -> Result<()> {
        let leader = self.standby.take().context("there is no second server")?;
        self.proxy.redirect(leader.url().trim_start_matches("http://"));
        self.standby = Some(self.installation.put_server(leader));
        Ok(())
    }

    /// Asks the programs to end, the worker first, and says how each of them did.
    pub(super) fn end_programs(&mut self) -> Vec<Result<()>> {
        let worker = self.installation.worker().map(|worker| end("the worker", worker.process()));
        let standby = self.standby.as_mut().map(|standby| end("the standby", standby.process()));
        let server = end("the server", self.installation.server().process());
        worker.into_iter().chain(standby).chain([server]).collect()
    }

    /// Where the worker has what it built.
    pub(super) fn built(&self, store_path: &str) -> PathBuf {
        match &self.worker_disk {
            Some(disk) => own_store::real_path(disk, store_path),
            None => PathBuf::from(store_path),
        }
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

/// The disk that the fault is about, and the database if it is a server of its own.
fn ground(database: Database, fault: Option<Fault>, folder: &Path) -> Result<(Option<Disk>, Option<Postgres>)> {
    let image = folder.join("disk");
    let disk = match fault {
        Some(Fault::DiskFull) => Some(Disk::small(&folder.join("server/state"))?),
        Some(Fault::WorkerDiskFull) => Some(Disk::small(&folder.join(WORKER_DISK))?),
        Some(Fault::PowerLoss) => Some(Disk::powered(&folder.join("server/state"), &image)?),
        Some(Fault::PostgresPowerLoss) => Some(Disk::powered(&folder.join("database"), &image)?),
        _ => None,
    };
    let postgres = match (database, fault, &disk) {
        (Database::Sqlite, ..) => None,
        (Database::Postgres, Some(Fault::PostgresPowerLoss), Some(disk)) => {
            // PostgreSQL's user passes through.
            fs::set_permissions(folder, Permissions::from_mode(0o711))?;
            let postgres = Postgres::start_durable_in(&folder.join("database"))?;
            disk.sync()?;
            Some(postgres)
        }
        (Database::Postgres, ..) => Some(Postgres::start_lasting()?),
    };
    Ok((disk, postgres))
}

/// Why this fault cannot be thrown on this machine.
pub(super) fn obstacle(fault: Fault) -> Option<&'static str> {
    match fault {
        Fault::DiskFull | Fault::WorkerDiskFull | Fault::PowerLoss | Fault::PostgresPowerLoss
            if !crate::prerequisites::is_root() =>
        {
            Some("only root may mount a disk")
        }
        Fault::WorkerDiskFull if nix_is_in_its_store() => Some("this machine's Nix is itself in the store"),
        Fault::PowerLoss | Fault::PostgresPowerLoss if !Path::new("/dev/loop-control").exists() => {
            Some("there are no loop devices")
        }
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

/// Whether a worker with another store would not find Nix any more.
fn nix_is_in_its_store() -> bool {
    let path = NixInstall::of_the_system().path();
    let found = std::env::split_paths(&path).find_map(|folder| fs::canonicalize(folder.join("nix-daemon")).ok());
    found.is_none_or(|program| program.starts_with("/nix"))
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
