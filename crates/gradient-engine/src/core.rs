//! The server's core: one task that owns the scheduler. Everybody else sends it events; it hands its decisions to the journal,
//! which makes them durable before anybody hears of them.

mod journal;
mod restore;
mod task;
mod undelivered;

use std::time::Duration;

use gradient_domain::{BuildId, BuildWait, Epoch, EvaluationId, Job, Shortage, WorkerId};
use gradient_scheduler::{Census, Estimate, Event, Scheduler, SchedulerSettings, Tick, WorkerCapabilities};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use self::undelivered::Undelivered;
use crate::{Engine, EngineError, sessions::ConnectedWorker};

/// Events that may wait for the core. Beyond that whoever has news waits.
const EVENTS: usize = 4096;

/// How long a question may take: it is answered from memory.
const ANSWER: Duration = Duration::from_secs(5);

/// How long the database may take to know of a decision that somebody waits for.
const DURABLE: Duration = Duration::from_secs(10);

/// Something for the core to do.
enum Message {
    Event(Event),
    Settle(Vec<Event>, oneshot::Sender<()>),
    ExplainBuild(BuildId, oneshot::Sender<Option<BuildWait>>),
    EstimateEvaluation(EvaluationId, oneshot::Sender<Option<Estimate>>),
    AssignedJobs(oneshot::Sender<Vec<(WorkerId, usize)>>),
    Census(oneshot::Sender<Census>),
}

/// The way to the core.
#[derive(Debug, Clone)]
pub(crate) struct Core {
    messages: mpsc::Sender<Message>,
    undelivered: Undelivered,
}

/// The core before it runs: the engine needs its address first.
pub(crate) struct Dormant {
    inbox: mpsc::Receiver<Message>,
    undelivered: Undelivered,
}

impl Core {
    pub(crate) fn new() -> (Self, Dormant) {
        let (messages, inbox) = mpsc::channel(EVENTS);
        let undelivered = Undelivered::default();
        (Self { messages, undelivered: undelivered.clone() }, Dormant { inbox, undelivered })
    }

    /// Tells the scheduler. An event is lost only when the server is going down, and then the database has the truth.
    pub(crate) async fn send(&self, event: Event) {
        let _ = self.messages.send(Message::Event(event)).await;
    }

    /// Tells the scheduler things that make sense together, and waits until what follows from it is durable and those whom it concerns are told.
    pub(crate) async fn settle(&self, events: Vec<Event>) -> Result<(), EngineError> {
        let (sender, settled) = oneshot::channel();
        self.messages.send(Message::Settle(events, sender)).await.map_err(|_| EngineError::Stopping)?;
        match tokio::time::timeout(DURABLE, settled).await {
            Ok(settled) => settled.map_err(|_| EngineError::Stopping),
            Err(_) => Err(EngineError::Busy),
        }
    }

    pub(crate) async fn worker_connected(&self, known: &ConnectedWorker, running: Vec<(Job, Epoch)>) {
        let (organizations, capabilities) = (known.organizations.clone(), capabilities(known));
        self.send(Event::WorkerConnected { worker: known.worker, organizations, capabilities, running }).await;
        if known.draining {
            self.worker_draining(known.worker).await;
        }
    }

    pub(crate) async fn worker_changed(&self, known: &ConnectedWorker) {
        let (organizations, capabilities) = (known.organizations.clone(), capabilities(known));
        self.send(Event::WorkerChanged { worker: known.worker, organizations, capabilities }).await;
    }

    pub(crate) async fn worker_draining(&self, worker: WorkerId) {
        self.send(Event::WorkerDraining { worker }).await;
    }

    pub(crate) async fn worker_short(&self, worker: WorkerId, shortage: Option<Shortage>) {
        self.send(Event::WorkerShort { worker, shortage }).await;
    }

    pub(crate) async fn worker_lost(&self, worker: WorkerId) {
        self.send(Event::WorkerLost { worker }).await;
    }

    /// To be called right before a worker is told of an assignment, or when it is not to be told.
    pub(crate) fn delivered(&self, job: Job, epoch: Epoch, worker: WorkerId) {
        self.undelivered.forget(job, epoch, worker);
    }

    pub(crate) async fn explain_build(&self, build: BuildId) -> Option<BuildWait> {
        self.ask(|answer| Message::ExplainBuild(build, answer)).await.flatten()
    }

    pub(crate) async fn estimate_evaluation(&self, evaluation: EvaluationId) -> Option<Estimate> {
        self.ask(|answer| Message::EstimateEvaluation(evaluation, answer)).await.flatten()
    }

    /// How many jobs each connected worker has.
    pub(crate) async fn assigned_jobs(&self) -> Vec<(WorkerId, usize)> {
        self.ask(Message::AssignedJobs).await.unwrap_or_default()
    }

    /// How much there is to do.
    pub(crate) async fn census(&self) -> Option<Census> {
        self.ask(Message::Census).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.messages.send(question(sender)).await.ok()?;
        tokio::time::timeout(ANSWER, answer).await.ok()?.ok()
    }
}

fn capabilities(known: &ConnectedWorker) -> WorkerCapabilities {
    WorkerCapabilities {
        systems: known.capabilities.systems.clone(),
        features: known.capabilities.features.clone(),
        build_slots: known.capabilities.build_slots,
    }
}

impl Dormant {
    /// Rebuilds the scheduler from the database and starts the core and its journal.
    pub(crate) async fn wake(self, engine: &Engine) -> Result<(), EngineError> {
        let settings = SchedulerSettings {
            lease: engine.settings().lease,
            max_attempts: engine.settings().build_max_attempts,
            ..SchedulerSettings::default()
        };
        let clock = Clock(Instant::now());
        let scheduler = Scheduler::new(settings);
        let events = restore::events(engine).await?;
        let journal = journal::start(engine.clone());
        tokio::spawn(task::run(self, scheduler, clock, journal, events));
        Ok(())
    }
}

/// The scheduler's time: monotonic, from the start of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    fn now(self) -> Tick {
        Tick::after_start(self.0.elapsed())
    }

    fn at(self, tick: Tick) -> Instant {
        self.0 + tick.since_start()
    }
}
