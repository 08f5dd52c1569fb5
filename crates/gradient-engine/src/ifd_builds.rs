//! Builds that evaluators run because their evaluation imports from the outputs, as their workers tell of them.
//!
//! Nothing follows from what is said here but what people see: these builds are not scheduled, not shared, not counted, and their
//! outputs stay with the worker. So a worker that lies lies about its own evaluation only; how many there are, and how long their
//! logs, is bounded.

use gradient_domain::{EvaluationId, Failure, Moment};
use gradient_nix::StorePath;
use gradient_storage::{
    Conn,
    ifd_builds::{self, ATTEMPT, Place},
};

use crate::{Engine, EngineError, changes::Change, leases::Lease, logs, measures, results::bounded};

/// How many there are of an evaluation; whatever comes after them is not shown.
const MAX_BUILDS: i64 = 1000;

/// How many characters of a system are kept.
const MAX_SYSTEM: usize = 100;

/// What was said of a build of this derivation.
#[derive(Debug)]
pub(crate) enum Said {
    /// It has begun.
    Started { system: String },
    /// Its log goes on.
    Printed { offset: u64, bytes: Vec<u8> },
    /// It has ended.
    Ended { failure: Option<Failure>, build_ms: u64 },
}

/// Notes what the owner of an evaluation says of a build that it imports from. What does not fit what is known changes nothing.
pub(crate) async fn note(
    engine: &Engine,
    evaluation: EvaluationId,
    lease: Lease,
    drv_path: StorePath,
    said: Said,
) -> Result<(), EngineError> {
    let place = Place { evaluation, epoch: lease.epoch, drv_path };
    match said {
        Said::Started { system } => started(engine, place, lease, system).await,
        Said::Printed { offset, bytes } => printed(engine, place, offset, bytes).await,
        Said::Ended { failure, build_ms } => ended(engine, place, failure, build_ms).await,
    }
}

async fn started(engine: &Engine, place: Place, lease: Lease, system: String) -> Result<(), EngineError> {
    let (now, system) = (Moment::now(), system.chars().take(MAX_SYSTEM).collect());
    let begin = async move |conn: &mut Conn| ifd_builds::begin(conn, place, lease.worker, system, MAX_BUILDS, now).await;
    if let Some(build) = engine.storage().transaction(begin).await? {
        engine.changes().announce(Change::Build(build));
    }
    Ok(())
}

async fn printed(engine: &Engine, place: Place, offset: u64, bytes: Vec<u8>) -> Result<(), EngineError> {
    let bytes = logs::within(engine.settings().max_log_bytes, offset, bytes);
    let sent = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let append = async move |conn: &mut Conn| ifd_builds::append_log(conn, &place, offset, bytes).await;
    if let Some((build, end)) = engine.storage().grouped(append).await? {
        measures::log_stored(end.saturating_sub(offset).min(sent));
        engine.changes().announce(Change::Log(build));
    }
    Ok(())
}

async fn ended(engine: &Engine, place: Place, failure: Option<Failure>, build_ms: u64) -> Result<(), EngineError> {
    let (now, failure, duration) = (Moment::now(), failure.map(bounded), i64::try_from(build_ms).unwrap_or(i64::MAX));
    let end = async move |conn: &mut Conn| ifd_builds::end(conn, &place, failure.as_ref(), duration, now).await;
    if let Some(build) = engine.storage().transaction(end).await? {
        logs::finish_later(engine, build, ATTEMPT);
        engine.changes().announce(Change::Build(build));
    }
    Ok(())
}

/// The builds of an evaluation that were stopped are final for everybody, and their logs complete. Should the server end before
/// that, the logs are archived at the next start.
pub(crate) fn settle_later(engine: &Engine, evaluation: EvaluationId) {
    let engine = engine.clone();
    tokio::spawn(async move {
        let stopped = async move |conn: &mut Conn| ifd_builds::unarchived(conn, evaluation).await;
        match engine.storage().read(stopped).await {
            Ok(builds) => {
                for build in builds {
                    logs::finish_later(&engine, build, ATTEMPT);
                    engine.changes().announce(Change::Build(build));
                }
            }
            Err(error) => tracing::error!(%evaluation, error = &error as &dyn std::error::Error, "cannot find ended builds"),
        }
    });
}
