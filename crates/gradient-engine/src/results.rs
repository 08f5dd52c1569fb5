//! What the reports of a job change: the database first, then the scheduler.

use gradient_domain::{BuildId, BuildStatus, Epoch, EvaluationId, Failure, Job, MessageLevel, Moment};
use gradient_protocol::Source;
use gradient_scheduler::Event;
use gradient_storage::{
    Conn, attempts,
    evaluations::{self, SourceInfo},
    ifd_builds as ifd_rows, paths,
};

use crate::{Engine, EngineError, changes::Change, ifd_builds, leases::Lease, logs, measures};

/// The work itself has begun.
pub(crate) async fn started(engine: &Engine, job: Job, lease: Lease) -> Result<(), EngineError> {
    let (now, epoch) = (Moment::now(), lease.epoch);
    if let Job::Build(build) = job {
        engine.storage().grouped(async move |conn: &mut Conn| attempts::set_started(conn, build, epoch, now).await).await?;
        engine.changes().announce(Change::Build(build));
    }
    engine.core().send(Event::JobStarted { job, epoch, worker: lease.worker }).await;
    Ok(())
}

/// The job has no result. The attempt's failure is durable before the scheduler decides what it means.
pub(crate) async fn failed(engine: &Engine, job: Job, lease: Lease, failure: Failure, log_bytes: u64) -> Result<(), EngineError> {
    let (now, epoch) = (Moment::now(), lease.epoch);
    let kind = failure.kind;
    match job {
        Job::Build(build) => {
            let bytes = i64::try_from(log_bytes).unwrap_or(i64::MAX);
            let failure = bounded(failure);
            engine
                .storage()
                .transaction(async move |conn: &mut Conn| attempts::set_failed(conn, build, epoch, &failure, bytes, now).await)
                .await?;
            logs::finish_later(engine, build, epoch);
        }
        Job::Fetch(evaluation) | Job::Evaluate(evaluation) if !kind.is_transient() => {
            let source = if matches!(job, Job::Fetch(_)) { "fetch" } else { "nix" };
            record_error(engine, evaluation, epoch, source, bounded(failure)).await?;
        }
        Job::Fetch(_) | Job::Evaluate(_) => {
            tracing::warn!(%job, %epoch, kind = %kind, message = failure.message, "a job failed transiently");
        }
    }
    if let Job::Evaluate(evaluation) = job {
        engine.storage().transaction(async move |conn: &mut Conn| ifd_rows::abort(conn, evaluation, now).await).await?;
        ifd_builds::settle_later(engine, evaluation);
    }
    engine.leases().end(job, epoch, lease.worker);
    engine.core().send(Event::JobFailed { job, epoch, worker: lease.worker, kind }).await;
    Ok(())
}

/// A failure message of a size that a page can show.
pub(crate) fn bounded(mut failure: Failure) -> Failure {
    const MAX: usize = 16 << 10;
    if failure.message.len() > MAX {
        let mut end = MAX;
        while !failure.message.is_char_boundary(end) {
            end -= 1;
        }
        failure.message.truncate(end);
    }
    failure
}

async fn record_error(
    engine: &Engine,
    evaluation: EvaluationId,
    epoch: Epoch,
    source: &'static str,
    failure: Failure,
) -> Result<(), EngineError> {
    let now = Moment::now();
    engine
        .storage()
        .transaction(async move |conn: &mut Conn| {
            let message = evaluations::NewMessage {
                level: MessageLevel::Error,
                source: source.to_owned(),
                attribute: None,
                message: failure.message.clone(),
            };
            evaluations::set_error(conn, evaluation, epoch, &failure.message, now).await?;
            evaluations::insert_messages(conn, evaluation, vec![message], now).await
        })
        .await?;
    engine.changes().announce(Change::Evaluation(evaluation));
    Ok(())
}

/// The source of an evaluation is in the organization's scope.
pub(crate) async fn fetched(engine: &Engine, evaluation: EvaluationId, lease: Lease, source: Source) -> Result<(), EngineError> {
    let (organization, epoch, now) = (lease.organization, lease.epoch, Moment::now());
    let wanted = source.path.clone();
    let stored = engine
        .storage()
        .read(async move |conn: &mut Conn| paths::find_many(conn, organization, &[wanted]).await)
        .await?
        .into_iter()
        .find(|path| path.path == source.path && path.nar_hash == source.nar_hash);
    if stored.is_none() {
        let message = format!("the worker did not upload the source {} that it says it fetched", source.path);
        let failure = Failure { kind: gradient_domain::FailureKind::WorkerUnfit, message };
        return failed(engine, Job::Fetch(evaluation), lease, failure, 0).await;
    }
    let source = SourceInfo {
        path: source.path,
        nar_hash: source.nar_hash,
        rev: source.rev,
        rev_count: source.rev_count,
        last_modified: source.last_modified,
    };
    engine
        .storage()
        .transaction(async move |conn: &mut Conn| evaluations::set_source(conn, evaluation, epoch, &source, now).await)
        .await?;
    let job = Job::Fetch(evaluation);
    engine.leases().end(job, epoch, lease.worker);
    engine.core().send(Event::JobFinished { job, epoch, worker: lease.worker, bytes: 0 }).await;
    Ok(())
}

/// All derivations of an evaluation are known.
pub(crate) async fn evaluated(engine: &Engine, evaluation: EvaluationId, lease: Lease) -> Result<(), EngineError> {
    let (epoch, now) = (lease.epoch, Moment::now());
    let had_errors = engine
        .storage()
        .transaction(async move |conn: &mut Conn| evaluations::set_sealed(conn, evaluation, epoch, now).await)
        .await?;
    ifd_builds::settle_later(engine, evaluation);
    let job = Job::Evaluate(evaluation);
    engine.leases().end(job, epoch, lease.worker);
    engine.core().send(Event::JobFinished { job, epoch, worker: lease.worker, bytes: 0 }).await;
    engine.core().send(Event::EvaluationSealed { evaluation, had_errors }).await;
    engine.changes().announce(Change::Evaluation(evaluation));
    Ok(())
}

/// A build that has its outputs, of so many bytes as NARs, is final for the scheduler too.
pub(crate) async fn completed(engine: &Engine, build: BuildId, lease: Lease, bytes: u64) {
    let job = Job::Build(build);
    measures::build_finished(BuildStatus::Completed);
    engine.leases().end(job, lease.epoch, lease.worker);
    engine.core().send(Event::JobFinished { job, epoch: lease.epoch, worker: lease.worker, bytes }).await;
    engine.changes().announce(Change::Build(build));
}
