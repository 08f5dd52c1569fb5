//! The store that evaluators write derivations to: a file that goes with the evaluation. A real one takes most of an evaluation's
//! time, as it registers each derivation in a database that one process at a time can write to.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use gradient_nix::StorePath;
use gradient_nix_daemon::{DerivationKeeper, Error, Listeners, relay};
use tempfile::TempDir;
use tokio::{
    net::UnixListener,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};

use crate::Machine;

/// The longest path that a Unix socket may have.
const MAX_SOCKET_PATH: usize = 107;

/// Since this version, a Nix whose store has a root of its own can be told of it and of a socket at the same time.
const ROOT_WITH_SOCKET: (u32, u32) = (2, 18);

/// The derivations of one evaluation.
#[derive(Debug)]
pub(super) struct Drafts {
    file: File,
    index: Mutex<Index>,
    using: mpsc::UnboundedSender<StorePath>,
}

#[derive(Debug, Default)]
struct Index {
    end: u64,
    places: HashMap<StorePath, (u64, usize)>,
    stored: HashSet<StorePath>,
    used: HashSet<StorePath>,
}

impl Drafts {
    fn new(machine: &Machine, using: mpsc::UnboundedSender<StorePath>) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(&machine.scratch)?, index: Mutex::default(), using })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // No holder of the lock leaves it half changed.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DerivationKeeper for Drafts {
    fn keep(&self, path: &StorePath, aterm: &[u8]) -> io::Result<()> {
        let offset = {
            let mut index = self.index();
            if index.places.contains_key(path) {
                return Ok(());
            }
            let offset = index.end;
            index.end += u64::try_from(aterm.len()).map_err(io::Error::other)?;
            offset
        };
        // Two that bring the same one at the same time write it twice, and one of both is found.
        self.file.write_all_at(aterm, offset)?;
        self.index().places.insert(path.clone(), (offset, aterm.len()));
        Ok(())
    }

    fn kept(&self, path: &StorePath) -> io::Result<Option<Vec<u8>>> {
        let place = self.index().places.get(path).copied();
        let Some((offset, length)) = place else { return Ok(None) };
        let mut aterm = vec![0; length];
        self.file.read_exact_at(&mut aterm, offset)?;
        Ok(Some(aterm))
    }

    fn note_stored(&self, path: &StorePath) -> bool {
        self.index().stored.insert(path.clone())
    }

    fn note_used(&self, path: &StorePath) {
        if self.index().used.insert(path.clone()) {
            // Nobody takes it any more only when the evaluation ends.
            let _ = self.using.send(path.clone());
        }
    }
}

/// The socket at which evaluators find it. It is served as long as this is there.
#[derive(Debug)]
pub(super) struct DraftStore {
    drafts: Arc<Drafts>,
    remote: OsString,
    failed: Arc<AtomicBool>,
    serving: JoinHandle<()>,
    _directory: TempDir,
}

impl DraftStore {
    /// Begins to serve, and to tell `using` which paths of the store evaluators count on, each once; nothing where evaluators could not
    /// use it.
    pub(super) fn open(
        machine: &Machine,
        using: mpsc::UnboundedSender<StorePath>,
        listeners: Listeners,
    ) -> io::Result<Option<Self>> {
        let directory = tempfile::Builder::new().prefix("evaluation-").tempdir_in(&machine.scratch)?;
        let socket = directory.path().join("store");
        let Some(path) = socket.to_str().filter(|path| path.len() <= MAX_SOCKET_PATH) else { return Ok(None) };
        let root = match machine.nix.store_root() {
            None => String::new(),
            Some(root) if machine.nix.is_at_least(ROOT_WITH_SOCKET) => format!("?root={}", root.display()),
            Some(_) => return Ok(None),
        };
        let (listener, drafts) = (UnixListener::bind(&socket)?, Arc::new(Drafts::new(machine, using)?));
        let failed = Arc::new(AtomicBool::new(false));
        let service = Service { machine: machine.clone(), drafts: Arc::clone(&drafts), failed: Arc::clone(&failed), listeners };
        let serving = tokio::spawn(serve(listener, service));
        Ok(Some(Self { drafts, remote: format!("unix://{path}{root}").into(), failed, serving, _directory: directory }))
    }

    /// What evaluators find it by, as `NIX_REMOTE`.
    pub(super) fn remote(&self) -> &OsString {
        &self.remote
    }

    /// What they wrote.
    pub(super) fn drafts(&self) -> &Arc<Drafts> {
        &self.drafts
    }

    /// Whether an evaluator wanted something that only the store itself can do.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Drop for DraftStore {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What each client is served with.
#[derive(Clone)]
struct Service {
    machine: Machine,
    drafts: Arc<Drafts>,
    failed: Arc<AtomicBool>,
    listeners: Listeners,
}

async fn serve(listener: UnixListener, service: Service) {
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else { return };
        let Service { machine, drafts, failed, listeners } = service.clone();
        clients.spawn(async move {
            let (reader, writer) = stream.into_split();
            match relay(reader, writer, machine.daemons.daemon(), &*drafts, listeners).await {
                // Evaluators are ended while they speak.
                Ok(()) | Err(Error::Io(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, "evaluators write to the store itself, which takes longer");
                    failed.store(true, Ordering::Relaxed);
                }
            }
        });
    }
}
