use std::collections::HashSet;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, Epoch, FailureKind, Moment, OrganizationId, WorkerId};

use crate::{
    Conn, StorageError,
    conn::{KEYS_PER_QUERY, query},
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
    Ok(make(conn, id, |current| current == epoch, status, change, now).await?.is_some())
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
    let change = Move { duration_ms: Some(Some(duration_ms)), ..Move::default() };
    let is_current = |current| current == epoch && epoch != Epoch::NONE;
    Ok(make(conn, id, is_current, BuildStatus::Completed, change, now).await?.is_some())
}

/// Makes a legal move, guarded by the build's epoch, and carries it on to the evaluations. The build's organization when it
/// happened.
pub(crate) async fn make(
    conn: &mut Conn,
    id: BuildId,
    fits: impl Fn(Epoch) -> bool,
    to: BuildStatus,
    mut change: Move,
    now: Moment,
) -> Result<Option<OrganizationId>, StorageError> {
    counters::lock(conn).await?;
    let current: Option<(BuildStatus, Epoch, OrganizationId)> = query!(&mut *conn, |c| {
        let build = builds::table.find(id).select((builds::status, builds::epoch, builds::organization));
        build.first(c).await.optional()?
    });
    let Some((from, epoch, organization)) = current else { return Ok(None) };
    if !fits(epoch) || !from.can_become(to) {
        return Ok(None);
    }
    change.finished_at = Some(to.is_final().then_some(now));
    let rows = query!(&mut *conn, |c| {
        let unmoved = builds::table.find(id).filter(builds::status.eq(from)).filter(builds::epoch.eq(epoch));
        let moved = (builds::status.eq(to), builds::updated_at.eq(now), &change);
        diesel::update(unmoved).set(moved).execute(c).await?
    });
    if rows == 0 {
        return Ok(None);
    }
    counters::build_moved(conn, id, from, to).await?;
    Ok(Some(organization))
}
