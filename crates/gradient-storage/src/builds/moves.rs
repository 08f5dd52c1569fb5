use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, Epoch, FailureKind, Moment, OrganizationId, WorkerId};

use crate::{
    Conn, StorageError,
    conn::{KEYS_PER_QUERY, execute_each, query},
    counters,
    schema::{attempts, builds},
};

/// What a move sets beside the status.
#[derive(Debug, Default, AsChangeset)]
#[diesel(table_name = builds, treat_none_as_null = false)]
pub(crate) struct Move {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) worker: Option<Option<WorkerId>>,
    pub(crate) failure_kind: Option<Option<FailureKind>>,
    pub(crate) failure_message: Option<Option<String>>,
    pub(crate) failed_dependency: Option<Option<BuildId>>,
    pub(crate) started_at: Option<Option<Moment>>,
    pub(crate) finished_at: Option<Option<Moment>>,
    pub(crate) duration_ms: Option<Option<i64>>,
}

/// Moves a build, when this is its newest assignment and its status allows it, and counts that in every evaluation that needs
/// it. With `Failed` it takes over why the attempt failed. Whether it moved. To be called in a transaction.
pub async fn set_status(
    conn: &mut Conn,
    id: BuildId,
    epoch: Epoch,
    status: BuildStatus,
    cause: Option<BuildId>,
    now: Moment,
) -> Result<bool, StorageError> {
    let mut change = Move { failed_dependency: Some(cause), ..Move::default() };
    match status {
        BuildStatus::Queued => (change.worker, change.started_at) = (Some(None), Some(None)),
        BuildStatus::Failed => {
            let failure: Option<(Option<FailureKind>, Option<String>)> = query!(&mut *conn, |c| {
                let attempt = attempts::table.find((id, epoch));
                attempt.select((attempts::failure_kind, attempts::failure_message)).first(c).await.optional()?
            });
            let (kind, message) = failure.unwrap_or_default();
            (change.failure_kind, change.failure_message) = (Some(kind), Some(message));
        }
        _ => {}
    }
    let wanted = vec![Wanted { build: id, fits: Fits::Newest(epoch), change }];
    Ok(!make_many(conn, wanted, status, now).await?.is_empty())
}

/// A build that has its outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The build.
    pub build: BuildId,
    /// Its assignment.
    pub epoch: Epoch,
    /// How long the builder ran.
    pub duration_ms: i64,
}

/// Ends builds that are queued and were never assigned, each as [`set_status`] does it with [`Epoch::NONE`], but with a few
/// statements for all. Which of them ended. To be called in a transaction.
pub async fn end_unassigned(
    conn: &mut Conn,
    ids: &[BuildId],
    status: BuildStatus,
    cause: Option<BuildId>,
    now: Moment,
) -> Result<HashSet<BuildId>, StorageError> {
    super::lock(conn).await?;
    let from = BuildStatus::Queued;
    let mut ended = HashSet::with_capacity(ids.len());
    for chunk in ids.chunks(KEYS_PER_QUERY) {
        let moved: Vec<BuildId> = query!(&mut *conn, |c| {
            let queued = builds::table.filter(builds::id.eq_any(chunk)).filter(builds::status.eq(from));
            let unassigned = queued.filter(builds::epoch.eq(Epoch::NONE));
            let changed = (
                builds::status.eq(status),
                builds::failed_dependency.eq(cause),
                builds::finished_at.eq(Some(now)),
                builds::updated_at.eq(now),
            );
            diesel::update(unassigned).set(changed).returning(builds::id).get_results(c).await?
        });
        counters::builds_ended(conn, &moved, from, status).await?;
        ended.extend(moved);
    }
    Ok(ended)
}

/// Ends a build with its outputs. Whether it was its assignment's to end. To be called in the transaction that makes the outputs
/// the organization's.
pub async fn complete(conn: &mut Conn, id: BuildId, epoch: Epoch, duration_ms: i64, now: Moment) -> Result<bool, StorageError> {
    Ok(!complete_many(conn, &[Completion { build: id, epoch, duration_ms }], now).await?.is_empty())
}

/// The same for several; those that were their assignments' to end.
pub async fn complete_many(conn: &mut Conn, completions: &[Completion], now: Moment) -> Result<HashSet<BuildId>, StorageError> {
    let assigned = completions.iter().filter(|completion| completion.epoch != Epoch::NONE);
    let wanted = assigned.map(|&Completion { build, epoch, duration_ms }| {
        let change = Move { duration_ms: Some(Some(duration_ms)), ..Move::default() };
        Wanted { build, fits: Fits::Newest(epoch), change }
    });
    Ok(make_many(conn, wanted.collect(), BuildStatus::Completed, now).await?.into_keys().collect())
}

/// A move that is to be made.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) build: BuildId,
    pub(crate) fits: Fits,
    pub(crate) change: Move,
}

/// The newest assignment that a build has to have for a move.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fits {
    /// This one.
    Newest(Epoch),
    /// One before this one.
    Before(Epoch),
}

/// Makes those of the moves that are legal, guarded by the builds' epochs, and carries them on to the evaluations. The organizations of
/// the builds that moved. Each build once; as they are locked together, that many cost little more than one.
pub(crate) async fn make_many(
    conn: &mut Conn,
    wanted: Vec<Wanted>,
    to: BuildStatus,
    now: Moment,
) -> Result<HashMap<BuildId, OrganizationId>, StorageError> {
    counters::lock(conn).await?;
    let ids: Vec<BuildId> = wanted.iter().map(|wanted| wanted.build).collect();
    let mut current: HashMap<BuildId, (BuildStatus, Epoch, OrganizationId)> = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(KEYS_PER_QUERY) {
        let rows: Vec<(BuildId, (BuildStatus, Epoch, OrganizationId))> = query!(&mut *conn, |c| {
            let columns = (builds::id, (builds::status, builds::epoch, builds::organization));
            builds::table.filter(builds::id.eq_any(chunk)).select(columns).load(c).await?
        });
        current.extend(rows);
    }
    let mut legal = Vec::with_capacity(ids.len());
    for Wanted { build, fits, mut change } in wanted {
        let Some(&(from, epoch, _)) = current.get(&build) else { continue };
        let fits = match fits {
            Fits::Newest(newest) => epoch == newest,
            Fits::Before(next) => epoch < next,
        };
        if fits && from.can_become(to) {
            change.finished_at = Some(to.is_final().then_some(now));
            legal.push((build, from, epoch, change));
        }
    }
    let builds_there: Vec<(BuildId, BuildStatus)> = legal.iter().map(|(build, from, ..)| (*build, *from)).collect();
    let rows = execute_each!(conn, legal, |legal| {
        let (build, from, epoch, change) = legal;
        let unmoved = builds::table.find(build).filter(builds::status.eq(from)).filter(builds::epoch.eq(epoch));
        diesel::update(unmoved).set((builds::status.eq(to), builds::updated_at.eq(now), change))
    });
    let moved = builds_there.into_iter().zip(rows).filter_map(|(build, rows)| (rows > 0).then_some(build));
    let moved: Vec<(BuildId, BuildStatus)> = moved.collect();
    counters::builds_moved(conn, &moved, to).await?;
    Ok(moved.into_iter().filter_map(|(build, _)| Some((build, current.get(&build)?.2))).collect())
}
