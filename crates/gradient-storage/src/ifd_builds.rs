//! Builds that evaluators ran because their evaluation imports from the outputs: import from derivation. Each belongs to one
//! assignment of one evaluation. Nobody schedules, shares or counts them: what is stored is what a worker says of them, of
//! derivations that nobody has verified.
//!
//! They have ids as other builds have, and one attempt each, with its log.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, Epoch, EvaluationId, Failure, FailureKind, Moment, WorkerId};
use gradient_nix::StorePath;

use crate::{
    Conn, StorageError,
    attempts::{self, Attempt, Success},
    conn::{insert_rows, query},
    logs,
    schema::{attempts as attempt_rows, discarded_logs, evaluations, ifd_builds, log_chunks},
};

mod view;

pub(crate) use view::{begun, is_of, node, page};
pub use view::{lookup, unarchived};

/// The one attempt that there is at each of them.
pub const ATTEMPT: Epoch = Epoch(1);

/// A build inside of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = ifd_builds, treat_none_as_default_value = false)]
pub struct IfdBuild {
    /// Its id; later ones are greater.
    pub id: BuildId,
    /// The evaluation that imports from it.
    pub evaluation: EvaluationId,
    /// The evaluation's assignment whose evaluator ran it.
    pub epoch: Epoch,
    /// The derivation's path.
    pub drv_path: StorePath,
    /// What it was built on.
    pub system: String,
    /// Where it stands: `Building` until it has ended.
    pub status: BuildStatus,
    /// When it began.
    pub started_at: Moment,
    /// When it ended.
    pub finished_at: Option<Moment>,
    /// When its status last changed.
    pub updated_at: Moment,
    /// How long the builder ran.
    pub duration_ms: Option<i64>,
}

impl IfdBuild {
    /// The derivation's name.
    pub fn name(&self) -> &str {
        name_of(&self.drv_path)
    }
}

fn name_of(derivation: &StorePath) -> &str {
    derivation.name().strip_suffix(".drv").unwrap_or(derivation.name())
}

/// Which build of an evaluation is meant: an assignment has one of each derivation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The evaluation.
    pub evaluation: EvaluationId,
    /// Its assignment.
    pub epoch: Epoch,
    /// The derivation's path.
    pub drv_path: StorePath,
}

/// Adds a build that has begun; its id. `None` when it is there already, when the evaluation has `max` of them, or when the worker
/// does not have the evaluation with this epoch, or may not build for it. To be called in a transaction.
pub async fn begin(
    conn: &mut Conn,
    place: Place,
    worker: WorkerId,
    system: String,
    max: i64,
    now: Moment,
) -> Result<Option<BuildId>, StorageError> {
    let Place { evaluation, epoch, drv_path } = place;
    // Whoever ends the evaluation or its assignment waits for this transaction, and ends the build too.
    let is_held = query!(&mut *conn, |c| {
        let open = evaluations::table.find(evaluation).filter(evaluations::finished_at.is_null());
        let held = open.filter(evaluations::epoch.eq(epoch)).filter(evaluations::worker.eq(Some(worker)));
        let allowed = held.filter(evaluations::allow_ifd.eq(true));
        diesel::update(allowed).set(evaluations::updated_at.eq(now)).execute(c).await? > 0
    });
    if !is_held {
        return Ok(None);
    }
    let there: Vec<(Epoch, StorePath)> = query!(&mut *conn, |c| {
        let all = ifd_builds::table.filter(ifd_builds::evaluation.eq(evaluation));
        all.select((ifd_builds::epoch, ifd_builds::drv_path)).limit(max).load(c).await?
    });
    if i64::try_from(there.len()).unwrap_or(i64::MAX) >= max || there.iter().any(|(e, path)| *e == epoch && *path == drv_path) {
        return Ok(None);
    }
    let id = BuildId::new();
    let (status, started_at, updated_at) = (BuildStatus::Building, now, now);
    let build = IfdBuild {
        id,
        evaluation,
        epoch,
        drv_path,
        system,
        status,
        started_at,
        finished_at: None,
        updated_at,
        duration_ms: None,
    };
    insert_rows!(&mut *conn, ifd_builds::table, 10, vec![build]);
    let attempt = Attempt {
        build: id,
        epoch: ATTEMPT,
        worker,
        assigned_at: now,
        started_at: Some(now),
        finished_at: None,
        failure_kind: None,
        failure_message: None,
        log_bytes: 0,
        log_frames: None,
    };
    insert_rows!(conn, attempt_rows::table, 10, vec![attempt]);
    Ok(Some(id))
}

macro_rules! running {
    ($place:expr) => {
        ifd_builds::table
            .filter(ifd_builds::evaluation.eq($place.evaluation))
            .filter(ifd_builds::epoch.eq($place.epoch))
            .filter(ifd_builds::drv_path.eq(&$place.drv_path))
            .filter(ifd_builds::status.eq(BuildStatus::Building))
    };
}

/// Appends to the log of a running build what it lacks of `bytes`, as [`logs::append`] does. The build and where its log ends then;
/// `None` when there is no such build that runs. To be called in a transaction.
pub async fn append_log(
    conn: &mut Conn,
    place: &Place,
    offset: u64,
    bytes: Vec<u8>,
) -> Result<Option<(BuildId, u64)>, StorageError> {
    // Changes nothing, and keeps the build from ending before this transaction does: no log grows once it is archived.
    let build: Option<BuildId> = query!(&mut *conn, |c| {
        let update = diesel::update(running!(place)).set(ifd_builds::epoch.eq(place.epoch)).returning(ifd_builds::id);
        update.get_result(c).await.optional()?
    });
    let Some(build) = build else { return Ok(None) };
    let end = logs::append(conn, build, ATTEMPT, offset, bytes).await?;
    Ok(Some((build, end)))
}

/// Ends a running build, with a failure or without one; which it was. To be called in a transaction.
pub async fn end(
    conn: &mut Conn,
    place: &Place,
    failure: Option<&Failure>,
    duration_ms: i64,
    now: Moment,
) -> Result<Option<BuildId>, StorageError> {
    let status = if failure.is_some() { BuildStatus::Failed } else { BuildStatus::Completed };
    let build: Option<BuildId> = query!(&mut *conn, |c| {
        let ended = (
            ifd_builds::status.eq(status),
            ifd_builds::finished_at.eq(Some(now)),
            ifd_builds::updated_at.eq(now),
            ifd_builds::duration_ms.eq(Some(duration_ms)),
        );
        diesel::update(running!(place)).set(ended).returning(ifd_builds::id).get_result(c).await.optional()?
    });
    let Some(build) = build else { return Ok(None) };
    let success = Success { build, epoch: ATTEMPT, log_bytes: 0, log_frames: None };
    match failure {
        Some(failure) => attempts::set_failed(conn, build, ATTEMPT, failure, 0, now).await?,
        None => attempts::set_succeeded(conn, success, now).await?,
    };
    Ok(Some(build))
}

/// Aborts the running builds of an evaluation: whoever ran them has the evaluation no more. To be called in a transaction.
pub async fn abort(conn: &mut Conn, evaluation: EvaluationId, now: Moment) -> Result<(), StorageError> {
    let stopped: Vec<BuildId> = query!(&mut *conn, |c| {
        let running = ifd_builds::table.filter(ifd_builds::evaluation.eq(evaluation));
        let running = running.filter(ifd_builds::status.eq(BuildStatus::Building));
        let ended =
            (ifd_builds::status.eq(BuildStatus::Aborted), ifd_builds::finished_at.eq(Some(now)), ifd_builds::updated_at.eq(now));
        diesel::update(running).set(ended).returning(ifd_builds::id).get_results(c).await?
    });
    for build in stopped {
        attempts::end(conn, build, ATTEMPT, FailureKind::Aborted, "its evaluator has ended", now).await?;
    }
    Ok(())
}

/// Removes at most `limit` of an evaluation's builds, and puts their logs on the list of what the store has to lose; how many.
pub(crate) async fn delete_part(conn: &mut Conn, evaluation: EvaluationId, limit: i64) -> Result<usize, StorageError> {
    let builds: Vec<BuildId> = query!(&mut *conn, |c| {
        let all = ifd_builds::table.filter(ifd_builds::evaluation.eq(evaluation)).select(ifd_builds::id);
        all.order(ifd_builds::id).limit(limit).load(c).await?
    });
    if builds.is_empty() {
        return Ok(0);
    }
    let logs = builds.iter().map(|build| (discarded_logs::build.eq(*build), discarded_logs::epoch.eq(ATTEMPT)));
    let logs: Vec<_> = logs.collect();
    insert_rows!(&mut *conn, discarded_logs::table, 2, logs, or ignore);
    query!(&mut *conn, |c| { diesel::delete(log_chunks::table.filter(log_chunks::build.eq_any(&builds))).execute(c).await? });
    query!(&mut *conn, |c| { diesel::delete(attempt_rows::table.filter(attempt_rows::build.eq_any(&builds))).execute(c).await? });
    Ok(query!(conn, |c| diesel::delete(ifd_builds::table.filter(ifd_builds::id.eq_any(&builds))).execute(c).await?))
}
