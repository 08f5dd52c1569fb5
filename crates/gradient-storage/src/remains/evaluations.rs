use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, EntryPointId, EvaluationId, EvaluationMessageId, EvaluationStatus, OrganizationId, ProjectId};

use crate::{
    Conn, StorageError,
    conn::query,
    counters, ifd_builds,
    schema::{entry_points, evaluation_builds, evaluation_messages, evaluations},
};

/// The evaluations of a project that have ended and are not among the newest `keep`, oldest first. The newest that succeeded is
/// never one of them.
pub async fn superfluous(conn: &mut Conn, project: ProjectId, keep: i32, limit: i64) -> Result<Vec<EvaluationId>, StorageError> {
    macro_rules! all {
        () => {
            evaluations::table.filter(evaluations::project.eq(Some(project))).select(evaluations::id)
        };
    }
    let newest = query!(&mut *conn, |c| {
        let newest = all!().order(evaluations::id.desc()).offset(i64::from(keep) - 1);
        newest.first::<EvaluationId>(c).await.optional()?
    });
    // The oldest of those that are kept; as long as there are no more than that, all are.
    let Some(oldest_kept) = newest else { return Ok(Vec::new()) };
    let successful = query!(&mut *conn, |c| {
        let successful = all!().filter(evaluations::status.eq(EvaluationStatus::Completed));
        successful.order(evaluations::id.desc()).first::<EvaluationId>(c).await.optional()?
    });
    Ok(query!(conn, |c| {
        let mut older =
            all!().filter(evaluations::id.lt(oldest_kept)).filter(evaluations::finished_at.is_not_null()).into_boxed::<DB>();
        if let Some(successful) = successful {
            older = older.filter(evaluations::id.ne(successful));
        }
        older.order(evaluations::id).limit(limit).load(c).await?
    }))
}

/// The evaluations of direct builds of an organization that have ended and are not among the newest `keep`, oldest first.
pub async fn superfluous_direct(
    conn: &mut Conn,
    organization: OrganizationId,
    keep: u32,
    limit: i64,
) -> Result<Vec<EvaluationId>, StorageError> {
    macro_rules! direct {
        () => {
            evaluations::table
                .filter(evaluations::organization.eq(organization))
                .filter(evaluations::project.is_null())
                .select(evaluations::id)
        };
    }
    let oldest_kept = query!(&mut *conn, |c| {
        let newest = direct!().order(evaluations::id.desc()).offset(i64::from(keep) - 1);
        newest.first::<EvaluationId>(c).await.optional()?
    });
    let Some(oldest_kept) = oldest_kept else { return Ok(Vec::new()) };
    Ok(query!(conn, |c| {
        let older = direct!().filter(evaluations::id.lt(oldest_kept)).filter(evaluations::finished_at.is_not_null());
        older.order(evaluations::id).limit(limit).load(c).await?
    }))
}

/// The evaluations of a deleted project that have ended.
pub async fn deletable_of_project(conn: &mut Conn, project: ProjectId, limit: i64) -> Result<Vec<EvaluationId>, StorageError> {
    Ok(query!(conn, |c| {
        let ended =
            evaluations::table.filter(evaluations::project.eq(Some(project))).filter(evaluations::finished_at.is_not_null());
        ended.select(evaluations::id).order(evaluations::id).limit(limit).load(c).await?
    }))
}

/// The evaluations of a deleted organization that have ended.
pub async fn deletable_of_organization(
    conn: &mut Conn,
    organization: OrganizationId,
    limit: i64,
) -> Result<Vec<EvaluationId>, StorageError> {
    Ok(query!(conn, |c| {
        let ended = evaluations::table.filter(evaluations::organization.eq(organization));
        let ended = ended.filter(evaluations::finished_at.is_not_null());
        ended.select(evaluations::id).order(evaluations::id).limit(limit).load(c).await?
    }))
}

/// Removes at most `limit` rows of what an evaluation that has ended consists of, and itself with the last. How many were removed;
/// none when it is gone.
pub async fn delete_evaluation_part(conn: &mut Conn, id: EvaluationId, limit: i64) -> Result<usize, StorageError> {
    // A build that ends is counted in all evaluations that need it.
    counters::lock(conn).await?;
    let imports = ifd_builds::delete_part(conn, id, limit).await?;
    if imports > 0 {
        return Ok(imports);
    }
    let builds: Vec<BuildId> = query!(&mut *conn, |c| {
        let links = evaluation_builds::table.filter(evaluation_builds::evaluation.eq(id));
        links.select(evaluation_builds::build).limit(limit).load(c).await?
    });
    if !builds.is_empty() {
        return Ok(query!(conn, |c| {
            let links = evaluation_builds::table.filter(evaluation_builds::evaluation.eq(id));
            diesel::delete(links.filter(evaluation_builds::build.eq_any(&builds))).execute(c).await?
        }));
    }
    let roots: Vec<EntryPointId> = query!(&mut *conn, |c| {
        let roots = entry_points::table.filter(entry_points::evaluation.eq(id));
        roots.select(entry_points::id).limit(limit).load(c).await?
    });
    if !roots.is_empty() {
        return Ok(query!(conn, |c| {
            diesel::delete(entry_points::table.filter(entry_points::id.eq_any(&roots))).execute(c).await?
        }));
    }
    let messages: Vec<EvaluationMessageId> = query!(&mut *conn, |c| {
        let messages = evaluation_messages::table.filter(evaluation_messages::evaluation.eq(id));
        messages.select(evaluation_messages::id).limit(limit).load(c).await?
    });
    if !messages.is_empty() {
        return Ok(query!(conn, |c| {
            diesel::delete(evaluation_messages::table.filter(evaluation_messages::id.eq_any(&messages))).execute(c).await?
        }));
    }
    Ok(query!(conn, |c| {
        let ended = evaluations::table.find(id).filter(evaluations::finished_at.is_not_null());
        diesel::delete(ended).execute(c).await?
    }))
}
