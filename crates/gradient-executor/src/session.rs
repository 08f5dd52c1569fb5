//! The conversation with the server: connects, and connects again, for as long as the worker lives.

mod connection;
mod jobs;
mod load;
mod log_buffer;
mod outbox;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gradient_domain::{JobKind, WorkerId};
use gradient_nix::STORE_DIR;
use gradient_protocol::{Capabilities, Hello, RefusalCode, VERSIONS};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use crate::{Machine, PeerStores, PeersFile, Reserve, SigningKeys, backoff::Backoff, peers::Peers, transfer::Transfer};
use connection::{Connection, ConnectionEnd};
use jobs::Jobs;
pub(crate) use load::memory_bytes;
pub(crate) use outbox::Outbox;

/// How long to wait before asking again after the server did not know any of the tokens.
const UNAUTHORIZED_PAUSE: Duration = Duration::from_secs(10);

/// What a worker is, and whom it serves.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The server's socket, such as `wss://ci.example.org/proto`.
    pub server: Url,
    /// Which worker it is.
    pub id: WorkerId,
    /// Whom it serves.
    pub peers: PeersFile,
    /// What it does.
    pub kinds: Vec<JobKind>,
    /// What it signs with.
    pub signing_keys: SigningKeys,
    /// How many builds it runs at once.
    pub build_slots: u32,
    /// The systems it builds for, when not those of its Nix.
    pub systems: Option<Vec<String>>,
    /// The system features it has, when not those of its Nix.
    pub features: Option<Vec<String>>,
    /// The name and version of the program, for people.
    pub program: String,
    /// How long its jobs may still run once it is asked to stop.
    pub drain_time: Option<Duration>,
}

/// Why a worker cannot go on.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// The server speaks no version of the protocol that this worker speaks.
    #[error("the server and this worker have no version of the protocol in common: {0}")]
    Version(String),
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Works until `stop` is cancelled and all jobs have ended, or for as long as `drain_time` after that.
pub async fn run(settings: WorkerSettings, machine: Machine, stop: CancellationToken) -> Result<(), WorkerError> {
    let outbox = Arc::new(Outbox::spilling(machine.scratch.clone()));
    let transfer = Transfer::new(&settings.server)?;
    let capabilities = capabilities(&settings, &machine);
    let (reserve, process) = (machine.reserve, Uuid::new_v4().as_u64_pair().0);
    let store = machine.peer_stores.as_ref().map_or(Path::new(STORE_DIR), PeerStores::directory).to_path_buf();
    let jobs = Jobs::new(Arc::new(machine), Arc::clone(&outbox), transfer.clone(), &settings);
    let session = Session { settings, outbox, transfer, capabilities, reserve, store, process, jobs, stop };
    tokio::select! {
        outcome = session.keep() => outcome,
        () = session.overdue() => Ok(()),
    }
}

struct Session {
    settings: WorkerSettings,
    outbox: Arc<Outbox>,
    transfer: Transfer,
    capabilities: Capabilities,
    reserve: Reserve,
    /// Where paths of the store are.
    store: PathBuf,
    /// Tells this process from another one with the same id.
    process: u64,
    jobs: Jobs,
    stop: CancellationToken,
}

impl Session {
    /// Connects until the work is done.
    async fn keep(&self) -> Result<(), WorkerError> {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(3));
        loop {
            if self.stop.is_cancelled() && self.outbox.is_empty() {
                return Ok(());
            }
            let pause = match self.connect(&mut backoff).await {
                ConnectionEnd::Drained => return Ok(()),
                ConnectionEnd::PeersChanged => {
                    tracing::info!("the peers file has changed: connecting anew");
                    Duration::ZERO
                }
                ConnectionEnd::Refused(RefusalCode::Version, message) => return Err(WorkerError::Version(message)),
                ConnectionEnd::Refused(RefusalCode::Unauthorized, message) => {
                    let (worker, seconds) = (self.settings.id, UNAUTHORIZED_PAUSE.as_secs());
                    tracing::warn!(%worker, "the server knows none of the tokens ({message}); register this worker with an organization; \
                         asking again in {seconds} seconds");
                    UNAUTHORIZED_PAUSE
                }
                ConnectionEnd::Refused(code, message) => {
                    let pause = backoff.next_delay();
                    tracing::warn!(?code, message, ?pause, "the server refuses this worker for now");
                    pause
                }
                ConnectionEnd::Lost(reason) => {
                    let pause = backoff.next_delay();
                    tracing::warn!(reason, ?pause, "no connection to the server; trying again");
                    pause
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stopped_and_idle() => return Ok(()),
            }
        }
    }

    async fn connect(&self, backoff: &mut Backoff) -> ConnectionEnd {
        let peers = match self.settings.peers.read() {
            Ok(peers) => peers,
            Err(error) => return ConnectionEnd::Lost(error.to_string()),
        };
        let opened = tokio::select! {
            opened = Connection::open(&self.settings.server, self.hello(&peers)) => opened,
            () = self.stopped_and_idle() => return ConnectionEnd::Drained,
        };
        let connection = match opened {
            Ok((connection, welcome)) => {
                self.transfer.set_token(&welcome.session_token);
                let names: Vec<_> = welcome.peers.iter().map(|peer| peer.name.as_str()).collect();
                tracing::info!(peers = names.join(", "), version = welcome.version, "connected to {}", self.settings.server);
                for refused in &welcome.refused {
                    tracing::warn!(peer = %refused.id, "not served: {}", refused.reason);
                }
                backoff.reset();
                connection
            }
            Err(end) => return end,
        };
        self.outbox.rewind();
        let end = connection.serve(self, &peers).await;
        // Its token is as good as gone: transfers wait for the next one.
        self.transfer.clear_token();
        end
    }

    fn hello(&self, peers: &Peers) -> Hello {
        Hello {
            versions: VERSIONS,
            worker: self.settings.id,
            program: self.settings.program.clone(),
            tokens: peers.tokens().to_vec(),
            capabilities: self.capabilities.clone(),
            running: self.outbox.jobs(),
            draining: self.stop.is_cancelled(),
            process: Some(self.process),
        }
    }

    /// Until the worker is asked to stop and nothing is left to say.
    async fn stopped_and_idle(&self) {
        self.stop.cancelled().await;
        while !self.outbox.is_empty() {
            self.outbox.changed().await;
        }
    }

    /// Until the jobs have had their time after the worker was asked to stop.
    async fn overdue(&self) {
        let Some(time) = self.settings.drain_time else { return std::future::pending().await };
        self.stop.cancelled().await;
        tokio::time::sleep(time).await;
        tracing::warn!("jobs still run after {} seconds; ending them", time.as_secs());
    }
}

fn capabilities(settings: &WorkerSettings, machine: &Machine) -> Capabilities {
    Capabilities {
        kinds: settings.kinds.clone(),
        systems: settings.systems.clone().unwrap_or_else(|| machine.nix.systems().to_vec()),
        features: settings.features.clone().unwrap_or_else(|| machine.nix.features().to_vec()),
        build_slots: settings.build_slots,
        cores: std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        memory_bytes: load::memory_bytes(),
        separates_peers: machine.peer_stores.is_some(),
        nix_version: machine.nix.version().to_owned(),
        signing_keys: settings.signing_keys.public(),
    }
}
