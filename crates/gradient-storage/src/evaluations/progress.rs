//! What changes an evaluation. Each function changes nothing when the evaluation has ended or, where an epoch is given, when
//! that is not its newest: a late writer is not heard. Whoever takes the job from its worker aborts what its evaluator builds.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{
    Epoch, EvaluationId, EvaluationStatus, EvaluationWait, FailureKind, Moment, OrganizationId, WorkerId, sql::Document,
};

use super::SourceInfo;
use crate::{
    Conn, StorageError,
    conn::query,
    counters, ifd_builds,
    schema::{entry_points, evaluation_counters, evaluation_messages, evaluations},
};

macro_rules! open {
    ($id:expr) => {
        evaluations::table.find($id).filter(evaluations::finished_at.is_null())
    };
}

/// Moves an evaluation, when its status allows it; `Waiting` may also change its reason. Whether it moved.
pub async fn set_status(
    conn: &mut Conn,
    id: EvaluationId,
    status: EvaluationStatus,
    waiting: Option<EvaluationWait>,
    now: Moment,
) -> Result<bool, StorageError> {
    let from: Vec<EvaluationStatus> = EvaluationStatus::ALL
        .iter()
        .copied()
        .filter(|from| from.can_become(status) || (status == EvaluationStatus::Waiting && *from == status))
        .collect();
    let waiting = waiting.map(Document);
    let finished = status.is_final().then_some(now);
    // Whoever had the job has it no more.
    let unassigned = status.is_final() || status == EvaluationStatus::Queued;
    let rows = query!(&mut *conn, |c| {
        let changed = (
            evaluations::status.eq(status),
            evaluations::waiting.eq(&waiting),
            evaluations::updated_at.eq(now),
            evaluations::finished_at.eq(finished),
        );
        diesel::update(open!(id).filter(evaluations::status.eq_any(&from))).set(changed).execute(c).await?
    });
    if rows > 0 && unassigned {
        query!(&mut *conn, |c| {
            diesel::update(evaluations::table.find(id)).set(evaluations::worker.eq(None::<WorkerId>)).execute(c).await?
        });
    }
    if rows > 0 && (unassigned || status == EvaluationStatus::Waiting) {
        ifd_builds::abort(conn, id, now).await?;
    }
    Ok(rows > 0)
}

/// Makes a worker the owner of the evaluation's job. The organization it is for, or `None` when the evaluation has ended.
pub async fn assign(
    conn: &mut Conn,
    id: EvaluationId,
    epoch: Epoch,
    worker: WorkerId,
    now: Moment,
) -> Result<Option<OrganizationId>, StorageError> {
    let organization: Option<OrganizationId> = query!(&mut *conn, |c| {
        let owner = (evaluations::epoch.eq(epoch), evaluations::worker.eq(Some(worker)), evaluations::updated_at.eq(now));
        let update = diesel::update(open!(id)).set(owner).returning(evaluations::organization);
        update.get_result(c).await.optional()?
    });
    if organization.is_some() {
        ifd_builds::abort(conn, id, now).await?;
    }
    Ok(organization)
}

/// Takes back what an earlier assignment said of the evaluation, as the next one says all of it again. The builds stay its own: the
/// same derivations are found. To be called in a transaction.
pub async fn forget_findings(conn: &mut Conn, id: EvaluationId) -> Result<(), StorageError> {
    counters::lock(conn).await?;
    query!(&mut *conn, |c| { diesel::delete(entry_points::table.filter(entry_points::evaluation.eq(id))).execute(c).await? });
    query!(&mut *conn, |c| {
        diesel::delete(evaluation_messages::table.filter(evaluation_messages::evaluation.eq(id))).execute(c).await?
    });
    query!(&mut *conn, |c| {
        let none = (evaluations::error_count.eq(0), evaluations::warning_count.eq(0));
        diesel::update(evaluations::table.find(id)).set(none).execute(c).await?
    });
    query!(conn, |c| {
        let none = (
            evaluation_counters::entry_points_total.eq(0),
            evaluation_counters::entry_points_completed.eq(0),
            evaluation_counters::entry_points_failed.eq(0),
        );
        diesel::update(evaluation_counters::table.find(id)).set(none).execute(c).await?
    });
    Ok(())
}

/// Keeps the source that was fetched under this assignment, which ends with it. Whether it was kept.
pub async fn set_source(
    conn: &mut Conn,
    id: EvaluationId,
    epoch: Epoch,
    source: &SourceInfo,
    now: Moment,
) -> Result<bool, StorageError> {
    let document = Document(source.clone());
    let rows = query!(conn, |c| {
        let changed =
            (evaluations::source.eq(Some(&document)), evaluations::worker.eq(None::<WorkerId>), evaluations::updated_at.eq(now));
        let unfetched = open!(id).filter(evaluations::epoch.eq(epoch)).filter(evaluations::source.is_null());
        diesel::update(unfetched).set(changed).execute(c).await?
    });
    Ok(rows > 0)
}

/// Notes that all derivations are known; the assignment ends with it. Whether the evaluation has errors.
pub async fn set_sealed(conn: &mut Conn, id: EvaluationId, epoch: Epoch, now: Moment) -> Result<bool, StorageError> {
    let rows = query!(&mut *conn, |c| {
        let changed = (evaluations::sealed.eq(true), evaluations::worker.eq(None::<WorkerId>), evaluations::updated_at.eq(now));
        diesel::update(open!(id).filter(evaluations::epoch.eq(epoch))).set(changed).execute(c).await?
    });
    if rows > 0 {
        ifd_builds::abort(conn, id, now).await?;
    }
    let errors: Option<i32> =
        query!(conn, |c| evaluations::table.find(id).select(evaluations::error_count).first(c).await.optional()?);
    Ok(errors.is_some_and(|errors| errors > 0))
}

/// Notes why it could not be evaluated. Whether it was noted.
pub async fn set_error(conn: &mut Conn, id: EvaluationId, epoch: Epoch, error: &str, now: Moment) -> Result<bool, StorageError> {
    let rows = query!(conn, |c| {
        let changed = (evaluations::error.eq(Some(error)), evaluations::updated_at.eq(now));
        diesel::update(open!(id).filter(evaluations::epoch.eq(epoch))).set(changed).execute(c).await?
    });
    Ok(rows > 0)
}

/// Notes the kind of failure that ended the evaluation's job for good, unless there is an error with more to say.
pub async fn set_error_unless_known(conn: &mut Conn, id: EvaluationId, kind: FailureKind) -> Result<(), StorageError> {
    let error = format!("the evaluation failed: {kind}");
    query!(conn, |c| {
        let unknown = open!(id).filter(evaluations::error.is_null());
        diesel::update(unknown).set(evaluations::error.eq(Some(error))).execute(c).await?
    });
    Ok(())
}

/// Notes that something came in under this assignment.
pub async fn touch(conn: &mut Conn, id: EvaluationId, epoch: Epoch, now: Moment) -> Result<(), StorageError> {
    query!(conn, |c| {
        let current = open!(id).filter(evaluations::epoch.eq(epoch));
        diesel::update(current).set(evaluations::updated_at.eq(now)).execute(c).await?
    });
    Ok(())
}
