use std::{
    collections::HashMap,
    ffi::OsString,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use gradient_domain::{Failure, FailureKind};
use gradient_nix::{NarHash, StorePath};
use gradient_nix_daemon::{Connection, Daemon, Error};
use tokio::time::{sleep, timeout};

use super::lost;
use crate::{Nix, job::failure};

/// How many builds one connection serves: its temporary roots, which keep paths from the garbage collector, go with it.
const MAX_BUILDS: u32 = 32;

/// How many idle connections are kept.
const MAX_IDLE: usize = 64;

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// How long a daemon may take to answer for the first time.
const CONNECT: Duration = Duration::from_mins(1);

/// Connections to Nix's daemon, opened when they are needed and used again by later builds.
#[derive(Debug)]
pub struct Daemons {
    nix: Nix,
    daemon: Daemon,
    idle: Arc<Mutex<Vec<HeldDaemon>>>,
}

/// A connection in the hands of one build. It is given back when all went well, and dropped otherwise.
pub(super) struct HeldDaemon {
    pub(super) connection: Connection,
    /// What its temporary roots hold, and is there, with this content.
    pub(super) held: HashMap<StorePath, NarHash>,
    builds: u32,
    given_back: Instant,
}

impl std::fmt::Debug for HeldDaemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeldDaemon").field("builds", &self.builds).finish_non_exhaustive()
    }
}

impl Daemons {
    /// Daemons of this Nix. The store is what `NIX_REMOTE` in the environment of [`Nix`] says; without it, root opens the
    /// machine's store itself and anybody else asks the machine's daemon.
    pub fn new(nix: &Nix) -> Self {
        let command = nix.command("nix-daemon");
        let command = command.as_std();
        let mut remote = OsString::from(if rustix::process::geteuid().is_root() { "local" } else { "daemon" });
        let mut daemon = Daemon::new(command.get_program());
        for (name, value) in command.get_envs() {
            let Some(value) = value else { continue };
            if name == "NIX_REMOTE" && !value.is_empty() {
                value.clone_into(&mut remote);
            }
            daemon = daemon.env(name, value);
        }
        Self { nix: nix.clone(), daemon: daemon.env("NIX_REMOTE", &remote), idle: Arc::default() }
    }

    /// The Nix that they belong to.
    pub(super) fn nix(&self) -> &Nix {
        &self.nix
    }

    /// How one is started.
    pub(crate) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// A connection that an earlier build has left, or a new one.
    pub(super) async fn take(&self) -> Result<HeldDaemon, Failure> {
        let idle = self.idle().pop();
        match idle {
            Some(held) => Ok(held),
            None => self.open().await,
        }
    }

    /// A new connection, which holds no temporary roots.
    pub(super) async fn open(&self) -> Result<HeldDaemon, Failure> {
        let connection = self.connect().await.map_err(lost)?;
        Ok(HeldDaemon { connection, held: HashMap::new(), builds: 0, given_back: Instant::now() })
    }

    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        match timeout(CONNECT, self.daemon.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(Error::Ended(format!("it did not answer within {} seconds", CONNECT.as_secs()))),
        }
    }

    /// Keeps a connection for a later build, unless it has served for long. When none comes soon it is closed, so that the garbage
    /// collector may take what it held.
    pub(super) fn put_back(&self, mut held: HeldDaemon) {
        held.builds += 1;
        held.given_back = Instant::now();
        let mut idle = self.idle();
        if held.connection.is_in_step() && held.builds < MAX_BUILDS && idle.len() < MAX_IDLE {
            idle.push(held);
            let idle = Arc::clone(&self.idle);
            tokio::spawn(async move {
                sleep(IDLE).await;
                let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.retain(|held| held.given_back.elapsed() < IDLE);
            });
        }
    }

    /// Drops the connections that nobody uses.
    pub(super) fn drop_idle(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<HeldDaemon>> {
        // No holder of the lock leaves the list half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for an answer of the daemon that cannot take long.
pub(super) async fn soon<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    const SOON: Duration = Duration::from_mins(5);
    match timeout(SOON, answer).await {
        Ok(answer) => answer.map_err(lost),
        Err(_) => {
            Err(failure(FailureKind::Transient, format!("the Nix daemon did not answer within {} seconds", SOON.as_secs())))
        }
    }
}
