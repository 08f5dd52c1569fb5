//! Attempts at builds: one for each assignment to a worker.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, Epoch, Failure, FailureKind, Moment, OrganizationId, WorkerId};

use crate::{
    Conn, StorageError,
    builds::{Fits, Move, Wanted, make_many},
    conn::{execute_each, insert_rows, query},
    logs,
    schema::{attempts, builds, log_chunks},
};

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = attempts, treat_none_as_default_value = false)]
pub struct Attempt {
    /// The build.
    pub build: BuildId,
    /// Which attempt it is, from 1.
    pub epoch: Epoch,
    /// Whose it is.
    pub worker: WorkerId,
    /// When it was given to the worker.
    pub assigned_at: Moment,
    /// When the builder began.
    pub started_at: Option<Moment>,
    /// When it ended.
    pub finished_at: Option<Moment>,
    /// Why it failed.
    pub failure_kind: Option<FailureKind>,
    /// The same for a person.
    pub failure_message: Option<String>,
    /// How long its log is: as the worker said when it ended, and what was stored once the log has a blob.
    pub log_bytes: i64,
    /// The index of the log's blob, once there is one.
    pub log_frames: Option<Vec<u8>>,
}

/// Which worker gets a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The build.
    pub build: BuildId,
    /// Which attempt it is, from 1.
    pub epoch: Epoch,
    /// Whose it is.
    pub worker: WorkerId,
}

/// Gives a queued build to a worker: a new attempt, and the build is `Building`. The build's organization, or `None` when the
/// build is not queued or has had this epoch. To be called in a transaction.
pub async fn assign(
    conn: &mut Conn,
    build: BuildId,
    epoch: Epoch,
    worker: WorkerId,
    now: Moment,
) -> Result<Option<OrganizationId>, StorageError> {
    Ok(assign_many(conn, &[Assignment { build, epoch, worker }], now).await?.remove(&build))
}

/// The same for several, each build once; the organizations of those that were given.
pub async fn assign_many(
    conn: &mut Conn,
    assignments: &[Assignment],
    now: Moment,
) -> Result<HashMap<BuildId, OrganizationId>, StorageError> {
    let wanted = assignments.iter().map(|&Assignment { build, epoch, worker }| {
        let change = Move { epoch: Some(epoch), worker: Some(Some(worker)), ..Move::default() };
        Wanted { build, fits: Fits::Before(epoch), change }
    });
    let mut given = make_many(&mut *conn, wanted.collect(), BuildStatus::Building, now).await?;
    let (new, old): (Vec<&Assignment>, Vec<_>) = assignments.iter().partition(|assignment| given.contains_key(&assignment.build));
    for &Assignment { build, epoch, worker } in old {
        if let Some(organization) = assigned(conn, build, epoch, worker).await? {
            given.insert(build, organization);
        }
    }
    let rows = new.into_iter().map(|&Assignment { build, epoch, worker }| Attempt {
        build,
        epoch,
        worker,
        assigned_at: now,
        started_at: None,
        finished_at: None,
        failure_kind: None,
        failure_message: None,
        log_bytes: 0,
        log_frames: None,
    });
    let rows: Vec<Attempt> = rows.collect();
    insert_rows!(conn, attempts::table, 10, rows);
    Ok(given)
}

/// The build's organization, when it has this assignment already: it was committed, and the answer was lost.
async fn assigned(
    conn: &mut Conn,
    build: BuildId,
    epoch: Epoch,
    worker: WorkerId,
) -> Result<Option<OrganizationId>, StorageError> {
    Ok(query!(conn, |c| {
        let same = builds::table.find(build).filter(builds::epoch.eq(epoch)).filter(builds::worker.eq(Some(worker)));
        let same = same.filter(builds::status.eq(BuildStatus::Building));
        same.select(builds::organization).first(c).await.optional()?
    }))
}

macro_rules! open {
    ($build:expr, $epoch:expr) => {
        attempts::table.find(($build, $epoch)).filter(attempts::finished_at.is_null())
    };
}

/// Notes that the builder began. Whether the attempt still ran, and this is the first time it is said. To be called in a
/// transaction.
pub async fn set_started(conn: &mut Conn, build: BuildId, epoch: Epoch, now: Moment) -> Result<bool, StorageError> {
    let rows = query!(&mut *conn, |c| {
        let unstarted = open!(build, epoch).filter(attempts::started_at.is_null());
        diesel::update(unstarted).set(attempts::started_at.eq(Some(now))).execute(c).await?
    });
    if rows > 0 {
        query!(conn, |c| {
            let current = builds::table.find(build).filter(builds::epoch.eq(epoch));
            let running = current.filter(builds::status.eq(BuildStatus::Building));
            diesel::update(running).set(builds::started_at.eq(Some(now))).execute(c).await?
        });
    }
    Ok(rows > 0)
}

/// Ends an attempt without its outputs, as the worker says. Whether it still ran. What it means for the build is decided
/// elsewhere.
pub async fn set_failed(
    conn: &mut Conn,
    build: BuildId,
    epoch: Epoch,
    failure: &Failure,
    log_bytes: i64,
    now: Moment,
) -> Result<bool, StorageError> {
    let rows = query!(conn, |c| {
        let ended = (
            attempts::finished_at.eq(Some(now)),
            attempts::failure_kind.eq(Some(failure.kind)),
            attempts::failure_message.eq(Some(&failure.message)),
            attempts::log_bytes.eq(log_bytes),
        );
        diesel::update(open!(build, epoch)).set(ended).execute(c).await?
    });
    Ok(rows > 0)
}

/// An attempt that ends with its outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Success {
    /// The build.
    pub build: BuildId,
    /// Which attempt it is.
    pub epoch: Epoch,
    /// How long its log is, as the worker says.
    pub log_bytes: i64,
    /// The index of its log's blob, when there is nothing of it that has to be put there yet.
    pub log_frames: Option<Vec<u8>>,
}

/// Ends an attempt with its outputs. Whether it still ran.
pub async fn set_succeeded(conn: &mut Conn, success: Success, now: Moment) -> Result<bool, StorageError> {
    Ok(set_succeeded_many(conn, vec![success], now).await? > 0)
}

/// The same for several; how many of them still ran.
pub async fn set_succeeded_many(conn: &mut Conn, successes: Vec<Success>, now: Moment) -> Result<usize, StorageError> {
    let rows = execute_each!(conn, successes, |success| {
        let log = (attempts::log_bytes.eq(success.log_bytes), attempts::log_frames.eq(success.log_frames));
        diesel::update(open!(success.build, success.epoch)).set((attempts::finished_at.eq(Some(now)), log))
    });
    Ok(rows.into_iter().sum())
}

/// Ends an attempt that nobody reports on any more; `message` says what became of it. Whether it still ran.
pub async fn end(
    conn: &mut Conn,
    build: BuildId,
    epoch: Epoch,
    kind: FailureKind,
    message: &str,
    now: Moment,
) -> Result<bool, StorageError> {
    let rows = query!(conn, |c| {
        let ended = (
            attempts::finished_at.eq(Some(now)),
            attempts::failure_kind.eq(Some(kind)),
            attempts::failure_message.eq(Some(message)),
        );
        diesel::update(open!(build, epoch)).set(ended).execute(c).await?
    });
    Ok(rows > 0)
}

/// The attempts at a build, oldest first, with what there is of their logs by now.
pub async fn list(conn: &mut Conn, build: BuildId) -> Result<Vec<Attempt>, StorageError> {
    let unarchived: Vec<Epoch> = query!(&mut *conn, |c| {
        let without_blob = attempts::table.filter(attempts::build.eq(build)).filter(attempts::log_frames.is_null());
        without_blob.select(attempts::epoch).load(c).await?
    });
    // Before the attempts: a log that becomes a blob in between has its length in both.
    let mut lengths = HashMap::with_capacity(unarchived.len());
    for epoch in unarchived {
        lengths.insert(epoch, logs::length(conn, build, epoch).await?.cast_signed());
    }
    let mut all: Vec<Attempt> = query!(conn, |c| {
        let all = attempts::table.filter(attempts::build.eq(build)).order(attempts::epoch);
        all.select(Attempt::as_select()).load(c).await?
    });
    for attempt in all.iter_mut().filter(|attempt| attempt.log_frames.is_none()) {
        attempt.log_bytes = lengths.get(&attempt.epoch).copied().unwrap_or(attempt.log_bytes);
    }
    Ok(all)
}

/// One attempt at a build; the newest when none is named.
pub async fn lookup(conn: &mut Conn, build: BuildId, epoch: Option<Epoch>) -> Result<Option<Attempt>, StorageError> {
    Ok(query!(conn, |c| {
        let mut all = attempts::table.filter(attempts::build.eq(build)).into_boxed::<DB>();
        if let Some(epoch) = epoch {
            all = all.filter(attempts::epoch.eq(epoch));
        }
        all.order(attempts::epoch.desc()).select(Attempt::as_select()).first(c).await.optional()?
    }))
}

/// The first attempt at a build after this one.
pub async fn next(conn: &mut Conn, build: BuildId, after: Epoch) -> Result<Option<Attempt>, StorageError> {
    Ok(query!(conn, |c| {
        let later = attempts::table.filter(attempts::build.eq(build)).filter(attempts::epoch.gt(after));
        later.order(attempts::epoch).select(Attempt::as_select()).first(c).await.optional()?
    }))
}

/// The attempts that have ended, and whose logs are still rows.
pub async fn unarchived(conn: &mut Conn) -> Result<Vec<(BuildId, Epoch)>, StorageError> {
    Ok(query!(conn, |c| {
        log_chunks::table
            .inner_join(attempts::table.on(attempts::build.eq(log_chunks::build).and(attempts::epoch.eq(log_chunks::epoch))))
            .filter(attempts::finished_at.is_not_null())
            .select((attempts::build, attempts::epoch))
            .distinct()
            .load(c)
            .await?
    }))
}

/// Keeps the index of the log's blob, and how long the log in it is. Whether the attempt is still there.
pub async fn set_log_frames(
    conn: &mut Conn,
    build: BuildId,
    epoch: Epoch,
    frames: Vec<u8>,
    log_bytes: i64,
) -> Result<bool, StorageError> {
    let rows = query!(conn, |c| {
        let attempt = attempts::table.find((build, epoch));
        let stored = (attempts::log_frames.eq(Some(&frames)), attempts::log_bytes.eq(log_bytes));
        diesel::update(attempt).set(stored).execute(c).await?
    });
    Ok(rows > 0)
}
