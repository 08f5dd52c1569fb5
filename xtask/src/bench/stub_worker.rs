//! A worker that does no work: it speaks the worker protocol over the socket as a real one does, and reports a graph that was
//! made before. The server cannot tell, for everything it says is true.

use std::collections::{HashSet, VecDeque};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use gradient_domain::{Epoch, Job, JobKind};
use gradient_nix::{CAHash, HashAlgorithm, NarHash, NixHash, NixHasher, StoreDir, StorePath};
use gradient_protocol::transfer::{CONTENT_ADDRESS_HEADER, job_path};
use gradient_protocol::{
    BuildTask, BuiltOutput, Capabilities, EntryPoint, Hello, PeerSelector, PeerToken, Report, ReportNumber, Source, Task,
    ToServer, ToWorker, VERSIONS, decode, encode,
};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use super::graph::Graph;
use super::http::{self, Connection};

/// Derivations in one report; a few hundred kilobytes.
const PART: usize = 200;

/// Builds that it has at a time.
const SLOTS: u32 = 32;

/// Who it is, and what it does.
pub(super) struct Plan {
    /// The server's host and port.
    pub(super) address: String,
    pub(super) worker_id: String,
    pub(super) token: String,
    /// What it takes.
    pub(super) kinds: Vec<JobKind>,
    pub(super) graph: Graph,
    /// So many builds it completes; those after them it keeps and never ends.
    pub(super) builds: usize,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All derivations are taken.
    Evaluated,
    /// All builds that it completes are completed.
    Built,
}

/// The running worker. It stays connected until it is dropped.
pub(super) struct StubWorker {
    stream: TcpStream,
    progress: mpsc::Receiver<Result<Progress>>,
    thread: Option<JoinHandle<()>>,
}

impl StubWorker {
    pub(super) fn start(plan: Plan) -> Result<Self> {
        let stream = TcpStream::connect(&plan.address)?;
        stream.set_nodelay(true)?;
        let (socket, _) = client(format!("ws://{}/proto", plan.address), stream.try_clone()?)?;
        let (sender, progress) = mpsc::channel();
        let thread = thread::spawn(move || {
            let worked = Session::open(socket, &plan.address, &plan.worker_id, &plan.token, plan.kinds.clone())
                .and_then(|session| session.work(plan, &sender));
            // Nobody listens any more once the measurement has ended.
            if let Err(error) = worked {
                let _ = sender.send(Err(error));
            }
        });
        Ok(Self { stream, progress, thread: Some(thread) })
    }

    /// Waits until it is that far.
    pub(super) fn wait_for(&self, wanted: &Progress, limit: std::time::Duration) -> Result<()> {
        let progress = self.progress.recv_timeout(limit).context("the stub worker does not get on")?;
        let progress = progress.context("the stub worker")?;
        if progress != *wanted {
            bail!("the stub worker is at {progress:?} instead of {wanted:?}");
        }
        Ok(())
    }
}

impl Drop for StubWorker {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A session of a worker, as the protocol has it.
pub(crate) struct Session {
    socket: WebSocket<TcpStream>,
    address: String,
    token: String,
    reports: ReportNumber,
    /// Assignments that came while an acknowledgement was waited for.
    waiting: VecDeque<(Job, Epoch, Task)>,
}

impl Session {
    /// Shakes hands as this worker.
    pub(crate) fn open(
        mut socket: WebSocket<TcpStream>,
        address: &str,
        worker_id: &str,
        token: &str,
        kinds: Vec<JobKind>,
    ) -> Result<Self> {
        let hello = Hello {
            versions: VERSIONS,
            worker: worker_id.parse()?,
            program: "bench".to_owned(),
            tokens: vec![PeerToken { peer: PeerSelector::Any, token: token.to_owned() }],
            capabilities: capabilities(kinds, SLOTS),
            running: vec![],
            draining: false,
            process: None,
        };
        socket.send(Message::binary(encode(&ToServer::Hello(hello))?))?;
        let ToWorker::Welcome(welcome) = read(&mut socket)? else { bail!("no welcome") };
        let (address, token) = (address.to_owned(), welcome.session_token);
        Ok(Self { socket, address, token, reports: 0, waiting: VecDeque::new() })
    }

    /// What proves it beside the socket.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    fn work(mut self, plan: Plan, progress: &mpsc::Sender<Result<Progress>>) -> Result<()> {
        let (mut graph, mut built) = (Some(plan.graph), 0);
        loop {
            let (job, epoch, task) = self.next()?;
            match task {
                Task::Fetch(_) => self.fetch(job, epoch)?,
                Task::Evaluate(_) => {
                    self.evaluate(job, epoch, graph.take().context("a second evaluation")?)?;
                    let _ = progress.send(Ok(Progress::Evaluated));
                }
                Task::Build(task) if built < plan.builds => {
                    self.build(job, epoch, &task)?;
                    built += 1;
                    if built == plan.builds {
                        let _ = progress.send(Ok(Progress::Built));
                    }
                }
                Task::Build(_) => {}
                Task::Large {} => bail!("a task that is too large for a message"),
            }
        }
    }

    /// The next assignment. Reading also answers the server's pings.
    pub(crate) fn next(&mut self) -> Result<(Job, Epoch, Task)> {
        loop {
            if let Some(assigned) = self.waiting.pop_front() {
                return Ok(assigned);
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Result<Option<ReportNumber>> {
        match read(&mut self.socket)? {
            ToWorker::Assign { job, epoch, task, .. } => self.waiting.push_back((job, epoch, *task)),
            ToWorker::Acknowledged { number } => return Ok(Some(number)),
            _ => {}
        }
        Ok(None)
    }

    pub(crate) fn fetch(&mut self, job: Job, epoch: Epoch) -> Result<()> {
        let nar = Nar::of_a_file(b"{ outputs = _: { }; }\n")?;
        let address = CAHash::Nar(NixHash::Sha256(nar.hash.0));
        let path = StoreDir::default().build_ca_path("source", &address, std::iter::empty::<&_>(), false)?;
        let path = StorePath::from(path);
        self.upload(job, epoch, &path, &nar, &format!("{CONTENT_ADDRESS_HEADER}: {address}\r\n"))?;
        let source = Source { path, nar_hash: nar.hash, rev: None, rev_count: None, last_modified: None };
        self.report(job, epoch, Report::Fetched { source })
    }

    fn evaluate(&mut self, job: Job, epoch: Epoch, graph: Graph) -> Result<()> {
        let (mut derivations, mut waiting) = (graph.derivations.into_iter(), graph.entry_points);
        let mut sent = HashSet::new();
        while derivations.len() > 0 {
            let part: Vec<_> = derivations.by_ref().take(PART).collect();
            sent.extend(part.iter().map(|derivation| derivation.path.clone()));
            let is_known = |entry_point: &EntryPoint| entry_point.outcome.as_ref().is_ok_and(|path| sent.contains(path));
            let (entry_points, later) = waiting.into_iter().partition(is_known);
            waiting = later;
            self.report(job, epoch, Report::Derivations { derivations: part, entry_points, messages: vec![] })?;
        }
        self.report(job, epoch, Report::Evaluated {})
    }

    pub(crate) fn build(&mut self, job: Job, epoch: Epoch, task: &BuildTask) -> Result<()> {
        let (path, nar) = (output_path(task)?, Nar::of_a_file(b"built\n")?);
        self.report(job, epoch, Report::Started {})?;
        self.upload(job, epoch, &path, &nar, "")?;
        let (nar_hash, nar_size) = (nar.hash, nar.size);
        let output = BuiltOutput { name: "out".to_owned(), path, nar_hash, nar_size, references: vec![] };
        self.report(job, epoch, Report::Built { outputs: vec![output], build_ms: 1234, log_bytes: 0 })
    }

    pub(crate) fn upload(&mut self, job: Job, epoch: Epoch, path: &StorePath, nar: &Nar, headers: &str) -> Result<()> {
        let request = http::put(&self.address, &job_path(job, epoch, path), &self.token, headers, &nar.compressed);
        // One of its own: the server closes a connection on which nothing comes, and much time may have gone by since the last one.
        let mut connection = Connection::open(&self.address)?;
        let answer = connection.exchange(&request)?;
        if answer.status != 204 {
            bail!("uploading {path}: {} {}", answer.status, String::from_utf8_lossy(answer.body));
        }
        Ok(())
    }

    /// Sends a report and waits until it is durable.
    pub(crate) fn report(&mut self, job: Job, epoch: Epoch, report: Report) -> Result<()> {
        self.reports += 1;
        let number = self.reports;
        self.socket.send(Message::binary(encode(&ToServer::Report { number, job, epoch, report })?))?;
        while self.read()? != Some(number) {}
        Ok(())
    }
}

/// Where the only output of a build is.
pub(super) fn output_path(task: &BuildTask) -> Result<StorePath> {
    let name = task.derivation.name().trim_end_matches(".drv");
    let outputs = nix_derivation::Derivation::from_aterm_bytes(&task.aterm, name)?.resolved_outputs()?;
    let path = outputs.get("out").and_then(|output| output.path.clone()).context("no output")?;
    Ok(StorePath::from(path))
}

pub(super) fn capabilities(kinds: Vec<JobKind>, build_slots: u32) -> Capabilities {
    Capabilities {
        kinds,
        systems: vec!["x86_64-linux".to_owned()],
        features: vec![],
        build_slots,
        cores: 2,
        memory_bytes: 1 << 30,
        separates_peers: false,
        nix_version: String::new(),
        signing_keys: vec![],
    }
}

fn read(socket: &mut WebSocket<TcpStream>) -> Result<ToWorker> {
    loop {
        match socket.read()? {
            Message::Binary(frame) => return Ok(decode(&frame)?),
            Message::Close(reason) => bail!("the server closed the session: {reason:?}"),
            _ => {}
        }
    }
}

/// A NAR of one small file.
pub(crate) struct Nar {
    pub(crate) compressed: Vec<u8>,
    pub(crate) hash: NarHash,
    pub(crate) size: u64,
}

impl Nar {
    pub(crate) fn of_a_file(contents: &[u8]) -> Result<Self> {
        let mut nar = Vec::new();
        for word in [b"nix-archive-1".as_slice(), b"(", b"type", b"regular", b"contents", contents, b")"] {
            nar.extend(u64::try_from(word.len())?.to_le_bytes());
            nar.extend(word);
            nar.resize(nar.len().next_multiple_of(8), 0);
        }
        let mut hasher = NixHasher::new(HashAlgorithm::Sha256);
        hasher.update(&nar);
        let NixHash::Sha256(digest) = hasher.finalize() else { bail!("SHA-256 gave another kind of hash") };
        Ok(Self { compressed: zstd::encode_all(nar.as_slice(), 1)?, hash: NarHash(digest), size: u64::try_from(nar.len())? })
    }
}
