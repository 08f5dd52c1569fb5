//! One of many workers. It says and uploads what a real one does, but builds nothing.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use gradient_domain::{Epoch, Job, JobKind, WorkerId};
use gradient_protocol::transfer::job_path;
use gradient_protocol::{
    BuildTask, BuiltOutput, Hello, PeerSelector, PeerToken, Report, ReportNumber, Task, ToServer, ToWorker, VERSIONS, decode,
    encode,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::client;
use super::crew::{Phase, Seen};
use crate::bench::http;
use crate::bench::stub_worker::{Nar, capabilities, output_path};

/// Who it is, and how long its builds take.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) address: String,
    pub(super) id: WorkerId,
    pub(super) token: String,
    pub(super) slots: u32,
    pub(super) seed: u64,
    pub(super) build: Duration,
}

/// Works until it is over.
pub(super) async fn work(identity: Identity, phase: watch::Receiver<Phase>, seen: Arc<Seen>) -> Result<()> {
    let mut worker = Worker::connect(identity, phase, seen).await?;
    loop {
        tokio::select! {
            message = worker.socket.next() => match message.context("the server closed the session")?? {
                Message::Binary(frame) => worker.hear(decode(&frame)?).await?,
                Message::Close(reason) => bail!("the server closed the session: {reason:?}"),
                _ => {}
            },
            Some(step) = worker.steps.join_next() => worker.go_on(step??).await?,
            changed = worker.phase.changed() => {
                changed?;
                match worker.now() {
                    Phase::Over => return Ok(()),
                    Phase::Burst => worker.report_held().await?,
                    Phase::Pace | Phase::Hold => {}
                }
            }
        }
    }
}

/// A build that it has.
#[derive(Debug)]
struct Build {
    job: Job,
    epoch: Epoch,
    output: BuiltOutput,
    took: Duration,
}

/// Something that took time.
#[derive(Debug)]
enum Step {
    Made(Build, Vec<u8>),
    Uploaded(Build),
}

struct Worker {
    identity: Identity,
    socket: WebSocketStream<TcpStream>,
    session: String,
    phase: watch::Receiver<Phase>,
    seen: Arc<Seen>,
    random: StdRng,
    steps: JoinSet<Result<Step>>,
    reports: ReportNumber,
    /// The reports of completed builds that are not acknowledged.
    completing: HashSet<ReportNumber>,
    /// Since when slots are free.
    free: VecDeque<Instant>,
    held: Vec<Build>,
}

impl Worker {
    async fn connect(identity: Identity, phase: watch::Receiver<Phase>, seen: Arc<Seen>) -> Result<Self> {
        let stream = TcpStream::connect(&identity.address).await?;
        stream.set_nodelay(true)?;
        let (mut socket, _) = client_async(format!("ws://{}/proto", identity.address), stream).await?;
        let hello = Hello {
            versions: VERSIONS,
            worker: identity.id,
            program: "bench".to_owned(),
            tokens: vec![PeerToken { peer: PeerSelector::Any, token: identity.token.clone() }],
            capabilities: capabilities(vec![JobKind::Build], identity.slots),
            running: vec![],
            draining: false,
            process: None,
        };
        socket.send(Message::binary(encode(&ToServer::Hello(hello))?)).await?;
        let welcome = loop {
            if let Message::Binary(frame) = socket.next().await.context("the server closed the session")?? {
                break decode(&frame)?;
            }
        };
        let ToWorker::Welcome(welcome) = welcome else { bail!("no welcome: {welcome:?}") };
        let random = StdRng::seed_from_u64(identity.seed);
        Ok(Self {
            identity,
            socket,
            session: welcome.session_token,
            phase,
            seen,
            random,
            steps: JoinSet::new(),
            reports: 0,
            completing: HashSet::new(),
            free: VecDeque::new(),
            held: Vec::new(),
        })
    }

    fn now(&self) -> Phase {
        *self.phase.borrow()
    }

    async fn hear(&mut self, message: ToWorker) -> Result<()> {
        match message {
            ToWorker::Assign { job, epoch, task, .. } => {
                self.seen.assigned.fetch_add(1, Relaxed);
                if let Some(since) = self.free.pop_front() {
                    self.seen.gap(since.elapsed());
                }
                match *task {
                    Task::Build(task) if self.now() < Phase::Burst => self.begin(job, epoch, &task).await,
                    Task::Build(_) => Ok(()),
                    other => bail!("a task that is no build: {other:?}"),
                }
            }
            ToWorker::Acknowledged { number } => {
                if self.completing.remove(&number) {
                    self.seen.completed.fetch_add(1, Relaxed);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The build runs for as long as it takes, or until builds take no time any more.
    async fn begin(&mut self, job: Job, epoch: Epoch, task: &BuildTask) -> Result<()> {
        self.report(job, epoch, Report::Started {}).await?;
        // Each build has contents of its own, as real ones have.
        let (path, nar) = (output_path(task)?, Nar::of_a_file(job.to_string().as_bytes())?);
        let output = BuiltOutput { name: "out".to_owned(), path, nar_hash: nar.hash, nar_size: nar.size, references: vec![] };
        let (took, mut phase) = (self.identity.build.mul_f64(self.random.random_range(0.0..2.0)), self.phase.clone());
        self.steps.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(took) => {}
                hurried = phase.wait_for(|phase| *phase >= Phase::Hold) => drop(hurried?),
            }
            Ok(Step::Made(Build { job, epoch, output, took }, nar.compressed))
        });
        Ok(())
    }

    async fn go_on(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Made(build, compressed) => {
                if self.now() == Phase::Pace {
                    self.report(build.job, build.epoch, Report::Made { outputs: Vec::new() }).await?;
                    self.free.push_back(Instant::now());
                }
                let path = job_path(build.job, build.epoch, &build.output.path);
                let request = http::put(&self.identity.address, &path, &self.session, "connection: close\r\n", &compressed);
                let address = self.identity.address.clone();
                self.steps.spawn(async move {
                    client::send(&address, &request).await.with_context(|| format!("uploading {}", build.output.path))?;
                    Ok(Step::Uploaded(build))
                });
                Ok(())
            }
            Step::Uploaded(build) if self.now() == Phase::Hold => {
                self.held.push(build);
                self.seen.held.fetch_add(1, Relaxed);
                Ok(())
            }
            Step::Uploaded(build) => self.complete(build).await,
        }
    }

    async fn report_held(&mut self) -> Result<()> {
        for build in std::mem::take(&mut self.held) {
            self.complete(build).await?;
        }
        Ok(())
    }

    async fn complete(&mut self, build: Build) -> Result<()> {
        self.completing.insert(self.reports + 1);
        let build_ms = u64::try_from(build.took.as_millis())?;
        let report = Report::Built { outputs: vec![build.output], build_ms, log_bytes: 0 };
        self.report(build.job, build.epoch, report).await
    }

    async fn report(&mut self, job: Job, epoch: Epoch, report: Report) -> Result<()> {
        self.reports += 1;
        let message = ToServer::Report { number: self.reports, job, epoch, report };
        Ok(self.socket.send(Message::binary(encode(&message)?)).await?)
    }
}
