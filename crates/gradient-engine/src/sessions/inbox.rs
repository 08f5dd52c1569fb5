//! What a worker says, made durable, acknowledged, and told to the scheduler: in this order.

use gradient_domain::{Epoch, Failure, FailureKind, Job, WorkerId};
use gradient_protocol::{Report, ReportNumber, ToServer, ToWorker};
use gradient_scheduler::Event;

use super::{SessionError, handshake::bounded};
use crate::{
    Engine, EngineError,
    derivations::{self, Found},
    ifd_builds::{self, Said},
    leases::Lease,
    logs, publish, results,
};

/// The most log bytes in one message.
const MAX_LOG_MESSAGE: usize = 256 << 10;
const LOG_TOO_LARGE: &str = "a log message of more than 256 KiB";

pub(super) async fn take(engine: &Engine, worker: WorkerId, found: &mut Found, message: ToServer) -> Result<(), SessionError> {
    match message {
        ToServer::Hello(_) => Err(SessionError::Protocol("a second hello")),
        ToServer::Capabilities(capabilities) => {
            if let Some(known) = engine.sessions().update(worker, |known| known.capabilities = bounded(capabilities)) {
                engine.core().worker_changed(&known).await;
                engine.signing().look();
            }
            Ok(())
        }
        ToServer::Load(load) => {
            engine.sessions().update(worker, |known| known.load = Some(load));
            engine.core().worker_short(worker, load.shortage).await;
            Ok(())
        }
        ToServer::Draining {} => {
            engine.sessions().update(worker, |known| known.draining = true);
            engine.core().worker_draining(worker).await;
            Ok(())
        }
        ToServer::Log { job, epoch, offset, bytes } => take_log(engine, worker, job, epoch, offset, bytes).await,
        ToServer::Report { report: Report::IfdLog { bytes, .. }, .. } if bytes.len() > MAX_LOG_MESSAGE => {
            Err(SessionError::Protocol(LOG_TOO_LARGE))
        }
        ToServer::Report { number, job, epoch, report } => {
            if let Some(lease) = engine.held_lease(job, epoch, worker) {
                take_report(engine, job, lease, found, report).await?;
            } else if ends(&report) {
                engine.core().send(Event::JobStopped { job, epoch, worker }).await;
            }
            // What comes from an assignment that has ended is of no interest, and must not be sent again.
            acknowledge(engine, worker, number);
            Ok(())
        }
        ToServer::Signed { number, signatures } => {
            engine.signing().answered(worker, number, signatures);
            Ok(())
        }
        ToServer::Unsupported { message_type } => {
            tracing::warn!(%worker, message_type, "the worker does not know a message of this server; it is older");
            Ok(())
        }
    }
}

/// Whether it is the last report of its job.
const fn ends(report: &Report) -> bool {
    !matches!(
        report,
        Report::Started {}
            | Report::Made { .. }
            | Report::Derivations { .. }
            | Report::IfdStarted { .. }
            | Report::IfdLog { .. }
            | Report::IfdEnded { .. }
    )
}

fn acknowledge(engine: &Engine, worker: WorkerId, number: ReportNumber) {
    engine.sessions().send(worker, ToWorker::Acknowledged { number });
}

async fn take_log(
    engine: &Engine,
    worker: WorkerId,
    job: Job,
    epoch: Epoch,
    offset: u64,
    bytes: Vec<u8>,
) -> Result<(), SessionError> {
    if bytes.len() > MAX_LOG_MESSAGE {
        return Err(SessionError::Protocol(LOG_TOO_LARGE));
    }
    let end = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    let stored = match (job, engine.held_lease(job, epoch, worker)) {
        (Job::Build(build), Some(_)) => logs::append(engine, build, epoch, offset, bytes).await?,
        // Only builds have logs; of a job that is no longer the worker's nothing is kept. Either way it can forget the bytes.
        _ => end,
    };
    engine.sessions().send(worker, ToWorker::LogStored { job, epoch, offset: stored });
    Ok(())
}

async fn take_report(engine: &Engine, job: Job, lease: Lease, found: &mut Found, report: Report) -> Result<(), EngineError> {
    if let (Job::Evaluate(_), Report::Evaluated {} | Report::Failed { .. }) = (job, &report) {
        *found = Found::default();
    }
    match (job, report) {
        (_, Report::Started {}) => results::started(engine, job, lease).await,
        (Job::Build(build), Report::Made { outputs }) => {
            let usable = engine.note_made(build, lease, outputs).await?;
            engine.core().send(Event::BuilderEnded { job, epoch: lease.epoch, worker: lease.worker, usable }).await;
            Ok(())
        }
        (_, Report::Failed { failure, log_bytes }) => results::failed(engine, job, lease, failure, log_bytes).await,
        (Job::Fetch(evaluation), Report::Fetched { source }) => results::fetched(engine, evaluation, lease, source).await,
        (Job::Evaluate(evaluation), Report::Derivations { derivations, entry_points, messages }) => {
            let part = derivations::Part { derivations, entry_points, messages };
            match derivations::ingest(engine, evaluation, lease, found, part).await {
                Err(EngineError::Derivation(refusal)) => {
                    let failure = Failure { kind: FailureKind::Permanent, message: refusal.to_string() };
                    results::failed(engine, job, lease, failure, 0).await
                }
                other => other,
            }
        }
        (Job::Evaluate(evaluation), Report::IfdStarted { derivation, system }) if derivation.is_derivation() => {
            ifd_builds::note(engine, evaluation, lease, derivation, Said::Started { system }).await
        }
        (Job::Evaluate(evaluation), Report::IfdLog { derivation, offset, bytes }) => {
            ifd_builds::note(engine, evaluation, lease, derivation, Said::Printed { offset, bytes }).await
        }
        (Job::Evaluate(evaluation), Report::IfdEnded { derivation, failure, build_ms }) => {
            ifd_builds::note(engine, evaluation, lease, derivation, Said::Ended { failure, build_ms }).await
        }
        (Job::Evaluate(evaluation), Report::Evaluated {}) => results::evaluated(engine, evaluation, lease).await,
        (Job::Build(build), Report::Built { outputs, build_ms, log_bytes }) => {
            let finished = publish::Finished { outputs, build_ms, log_bytes };
            match publish::publish(engine, build, lease, finished).await {
                Err(EngineError::Outputs(refusal)) => {
                    let failure = Failure { kind: FailureKind::WorkerUnfit, message: refusal.to_string() };
                    results::failed(engine, job, lease, failure, log_bytes).await
                }
                Err(EngineError::InputsMissing(message)) => {
                    let failure = Failure { kind: FailureKind::InputsMissing, message };
                    results::failed(engine, job, lease, failure, log_bytes).await
                }
                other => other,
            }
        }
        (job, _) => {
            let failure = Failure {
                kind: FailureKind::WorkerUnfit,
                message: format!("the worker reported something that does not fit a {} job", job.kind()),
            };
            results::failed(engine, job, lease, failure, 0).await
        }
    }
}
