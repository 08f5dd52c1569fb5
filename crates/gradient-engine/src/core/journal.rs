//! Makes the scheduler's decisions durable, in order, and then lets the world know.
//!
//! Decisions that come close together share a transaction. When the database is away the journal waits for it: nothing is told
//! to anybody that a restart would not know.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use gradient_domain::{
    BuildId, BuildStatus, Epoch, EvaluationId, EvaluationStatus, EvaluationWait, FailureKind, Job, Moment, WorkerId,
};
use gradient_protocol::ToWorker;
use gradient_scheduler::{BuildState, Decision, Event, NewBuild};
use gradient_storage::{
    Conn, StorageError,
    attempts::{self, Assignment},
    builds, evaluations, paths,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    Change, Engine,
    assignments::{self, Prepared},
    ifd_builds,
    leases::Lease,
    logs, measures,
};

/// Batches of decisions that may wait. Beyond that the core waits.
const WAITING: usize = 1024;

/// Decisions in one transaction.
const DECISIONS: usize = 512;

/// Tasks that are ready, at most, before their workers may have them: the others are prepared afterwards.
const PREPARED_EARLY: usize = 16;

/// The longest pause between tries when the database is away.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Decisions that were made at once.
pub(super) struct Batch {
    pub(super) decisions: Vec<Decision>,
    /// Somebody who waits until these and all before them are durable.
    pub(super) settled: Option<oneshot::Sender<()>>,
}

impl From<Vec<Decision>> for Batch {
    fn from(decisions: Vec<Decision>) -> Self {
        Self { decisions, settled: None }
    }
}

pub(super) fn start(engine: Engine) -> mpsc::Sender<Batch> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(run(engine, receiver));
    sender
}

async fn run(engine: Engine, mut inbox: mpsc::Receiver<Batch>) {
    while let Some(Batch { mut decisions, settled }) = inbox.recv().await {
        let mut waiting: Vec<_> = settled.into_iter().collect();
        while decisions.len() < DECISIONS
            && let Ok(more) = inbox.try_recv()
        {
            decisions.extend(more.decisions);
            waiting.extend(more.settled);
        }
        let mut early = prepare_early(&engine, &decisions);
        let outcomes = if decisions.is_empty() { Vec::new() } else { write(&engine, &decisions).await };
        for (decision, outcome) in decisions.into_iter().zip(outcomes) {
            announce(&engine, decision, outcome, &mut early);
        }
        for settled in waiting {
            // Whoever waited may have lost patience.
            let _ = settled.send(());
        }
    }
}

/// The tasks of builds that are to be given to workers: read while that is written down, which takes about as long.
type Early = HashMap<(BuildId, Epoch), JoinHandle<Option<Prepared>>>;

fn prepare_early(engine: &Engine, decisions: &[Decision]) -> Early {
    let build = |decision: &Decision| match *decision {
        Decision::Assign { job: Job::Build(build), epoch, worker } => Some((build, epoch, worker)),
        _ => None,
    };
    let builds = decisions.iter().filter_map(build).take(PREPARED_EARLY);
    builds.map(|(build, epoch, worker)| ((build, epoch), assignments::prepare_early(engine, build, worker))).collect()
}

/// What became of a decision in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It holds.
    Done,
    /// It holds, for a job of this organization.
    Assigned(gradient_domain::OrganizationId),
    /// The row had moved on already; nothing changed.
    Overtaken,
}

async fn write(engine: &Engine, decisions: &[Decision]) -> Vec<Outcome> {
    let mut pause = Duration::from_millis(50);
    loop {
        let (batch, now) = (decisions.to_vec(), Moment::now());
        let written = engine
            .storage()
            .grouped(async move |conn: &mut Conn| {
                let mut outcomes = Vec::with_capacity(batch.len());
                let mut left = batch.as_slice();
                while let Some(first) = left.first() {
                    let assignments = assignments_ahead(left);
                    let ends = End::of(first).map_or(0, |end| end.run(left));
                    let (some, others) = left.split_at(assignments.max(ends).max(1));
                    left = others;
                    if assignments > 0 {
                        outcomes.extend(assign(conn, some, now).await?);
                    } else if ends > 1 {
                        outcomes.extend(record_ends(conn, some, now).await?);
                    } else {
                        outcomes.push(record(conn, first, now).await?);
                    }
                }
                Ok::<_, StorageError>(outcomes)
            })
            .await;
        match written {
            Ok(outcomes) => return outcomes,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot write decisions; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

/// How many decisions come first that give builds to workers, each another one.
fn assignments_ahead(decisions: &[Decision]) -> usize {
    let mut builds = HashSet::new();
    let is_assignment = |decision: &&Decision| match decision {
        Decision::BuildMoved { status: BuildStatus::Building, .. } => true,
        Decision::Assign { job: Job::Build(build), .. } => builds.insert(*build),
        _ => false,
    };
    decisions.iter().take_while(is_assignment).count()
}

/// Gives builds to workers, together: one by one it takes several times as long.
async fn assign(conn: &mut Conn, decisions: &[Decision], now: Moment) -> Result<Vec<Outcome>, StorageError> {
    let assignments = decisions.iter().filter_map(|decision| match *decision {
        Decision::Assign { job: Job::Build(build), epoch, worker } => Some(Assignment { build, epoch, worker }),
        _ => None,
    });
    let assignments: Vec<Assignment> = assignments.collect();
    let given = if assignments.is_empty() { HashMap::new() } else { attempts::assign_many(conn, &assignments, now).await? };
    let outcome = |decision: &Decision| match decision {
        Decision::Assign { job: Job::Build(build), .. } => {
            given.get(build).map_or(Outcome::Overtaken, |&organization| Outcome::Assigned(organization))
        }
        // `Building` is written by the assignment that follows, at once with the owner and the epoch.
        _ => Outcome::Done,
    };
    Ok(decisions.iter().map(outcome).collect())
}

/// How a build ends that nobody was ever given. When an evaluation is aborted, or something fails that much needs, thousands end in
/// the same way at once; written down one by one, all other decisions would wait for them for a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    status: BuildStatus,
    cause: Option<BuildId>,
}

impl End {
    fn of(decision: &Decision) -> Option<Self> {
        match decision {
            Decision::BuildMoved {
                status: status @ (BuildStatus::Aborted | BuildStatus::DependencyFailed),
                epoch: Epoch::NONE,
                cause,
                ..
            } => Some(Self { status: *status, cause: *cause }),
            _ => None,
        }
    }

    /// How many of the first decisions are this.
    fn run(self, decisions: &[Decision]) -> usize {
        decisions.iter().take_while(|decision| Self::of(decision) == Some(self)).count()
    }
}

/// Writes down builds that end in the same way.
async fn record_ends(conn: &mut Conn, decisions: &[Decision], now: Moment) -> Result<Vec<Outcome>, StorageError> {
    let build = |decision: &Decision| match decision {
        Decision::BuildMoved { build, .. } => Some(*build),
        _ => None,
    };
    let builds: Vec<BuildId> = decisions.iter().filter_map(build).collect();
    let Some(End { status, cause }) = decisions.first().and_then(End::of) else { return Ok(Vec::new()) };
    let ended = builds::end_unassigned(conn, &builds, status, cause, now).await?;
    let outcome = |build| if ended.contains(build) { Outcome::Done } else { Outcome::Overtaken };
    Ok(builds.iter().map(outcome).collect())
}

async fn record(conn: &mut Conn, decision: &Decision, now: Moment) -> Result<Outcome, StorageError> {
    let happened = match decision {
        Decision::Assign { job, epoch, worker } => {
            let organization = match job {
                Job::Build(build) => attempts::assign(conn, *build, *epoch, *worker, now).await?,
                Job::Fetch(evaluation) | Job::Evaluate(evaluation) => {
                    let organization = evaluations::assign(conn, *evaluation, *epoch, *worker, now).await?;
                    if *epoch > Epoch::NONE.next() && organization.is_some() {
                        evaluations::forget_findings(conn, *evaluation).await?;
                    }
                    organization
                }
            };
            return Ok(organization.map_or(Outcome::Overtaken, Outcome::Assigned));
        }
        // `Building` is written by the assignment that follows, at once with the owner and the epoch.
        Decision::BuildMoved { status: BuildStatus::Building, .. } | Decision::Cancel { .. } | Decision::JobRefused { .. } => {
            true
        }
        Decision::BuildMoved { build, status, epoch, cause, failure } => {
            if *epoch != Epoch::NONE {
                let kind = failure.unwrap_or(FailureKind::Aborted);
                // What a worker has said of its attempt stays.
                attempts::end(conn, *build, *epoch, kind, ended_by(kind), now).await?;
                paths::delete_staged(conn, *build).await?;
            }
            builds::set_status(conn, *build, *epoch, *status, *cause, now).await?
        }
        Decision::EvaluationMoved { evaluation, status, waiting, failure } => {
            if let Some(kind) = failure {
                evaluations::set_error_unless_known(conn, *evaluation, *kind).await?;
            }
            evaluations::set_status(conn, *evaluation, *status, waiting.clone(), now).await?
        }
    };
    Ok(if happened { Outcome::Done } else { Outcome::Overtaken })
}

/// Whether no worker is at an evaluation that stands there.
const fn is_idle(status: EvaluationStatus) -> bool {
    status.is_final() || matches!(status, EvaluationStatus::Queued | EvaluationStatus::Waiting)
}

/// What became of an attempt that no report has ended.
const fn ended_by(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Aborted => "it was stopped",
        FailureKind::InputsMissing => "what it was begun with was not brought to a good end on this worker",
        _ => "the worker was lost: it did not come back in time, or came back without the build",
    }
}

fn announce(engine: &Engine, decision: Decision, outcome: Outcome, early: &mut Early) {
    match decision {
        Decision::Assign { job, epoch, worker } => match outcome {
            Outcome::Assigned(organization) => {
                if let Job::Evaluate(evaluation) = job
                    && epoch > Epoch::NONE.next()
                {
                    ifd_builds::settle_later(engine, evaluation);
                }
                engine.leases().grant(job, Lease { epoch, worker, organization });
                let early = if let Job::Build(build) = job { early.remove(&(build, epoch)) } else { None };
                assignments::send_later(engine, job, Lease { epoch, worker, organization }, early);
            }
            Outcome::Done | Outcome::Overtaken => {
                engine.core().delivered(job, epoch, worker);
                correct_later(engine, job, epoch, worker);
            }
        },
        Decision::Cancel { job, epoch, worker } => {
            cancel(engine, job, epoch, worker, "it is no longer wanted");
            if let Job::Build(build) = job {
                logs::finish_later(engine, build, epoch);
            }
        }
        Decision::JobRefused { job, epoch, worker } => {
            cancel(engine, job, epoch, worker, "it belongs to another assignment by now");
        }
        Decision::BuildMoved { build, status, epoch, .. } => {
            if outcome == Outcome::Done && status.is_final() {
                measures::build_finished(status);
            }
            build_moved(engine, build, status, epoch);
        }
        Decision::EvaluationMoved { evaluation, status, waiting, .. } => {
            if outcome == Outcome::Done && status.is_final() {
                measures::evaluation_finished(status);
            }
            if outcome == Outcome::Done && is_idle(status) {
                ifd_builds::settle_later(engine, evaluation);
            }
            evaluation_moved(status, waiting.as_ref(), evaluation);
            engine.changes().announce(Change::Evaluation(evaluation));
        }
    }
}

fn cancel(engine: &Engine, job: Job, epoch: Epoch, worker: WorkerId, reason: &str) {
    engine.leases().end(job, epoch, worker);
    engine.sessions().send(worker, ToWorker::Cancel { job, epoch, reason: reason.to_owned() });
}

/// The scheduler did not know that the job had moved on: it is told how it stands, lest it waits for a worker that has nothing
/// to do. Not waited for, because the core may be waiting for the journal.
fn correct_later(engine: &Engine, job: Job, epoch: Epoch, worker: WorkerId) {
    tracing::debug!(%job, %epoch, "an assignment was overtaken");
    let engine = engine.clone();
    tokio::spawn(async move {
        let event = match job {
            Job::Fetch(evaluation) | Job::Evaluate(evaluation) => Event::AbortEvaluation { evaluation, stop_running: false },
            Job::Build(id) => match engine.storage().read(async move |conn: &mut Conn| builds::find(conn, id).await).await {
                Ok(build) if build.status.is_final() => {
                    let state = BuildState::Ended(build.status);
                    let ended = NewBuild {
                        build: id,
                        organization: build.organization,
                        system: String::new(),
                        features: vec![],
                        dependencies: vec![],
                        expected: Duration::ZERO,
                        state,
                    };
                    // No evaluation needs it anew; the scheduler knows those that do.
                    Event::BuildsAdded { evaluation: EvaluationId::new(), builds: vec![ended] }
                }
                Ok(_) | Err(_) => Event::JobFailed { job, epoch, worker, kind: FailureKind::Transient },
            },
        };
        engine.core().send(event).await;
    });
}

fn build_moved(engine: &Engine, build: BuildId, status: BuildStatus, epoch: Epoch) {
    tracing::debug!(%build, %status, "build moved");
    // Whoever had it has it no more, and is not heard again; the attempt's log is complete.
    if status != BuildStatus::Building && engine.leases().revoke(Job::Build(build), epoch) {
        logs::finish_later(engine, build, epoch);
    }
    engine.changes().announce(Change::Build(build));
}

fn evaluation_moved(status: EvaluationStatus, waiting: Option<&EvaluationWait>, evaluation: gradient_domain::EvaluationId) {
    tracing::info!(%evaluation, %status, waiting = waiting.map(tracing::field::debug), "evaluation moved");
}
