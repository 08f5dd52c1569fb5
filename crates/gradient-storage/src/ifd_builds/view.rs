use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildKind, BuildStatus, EvaluationId};

use super::{ATTEMPT, IfdBuild};
use crate::{
    Conn, StorageError,
    builds::GraphNode,
    conn::query,
    evaluations::BuildSummary,
    schema::{attempts, ifd_builds},
};

/// The build with this id.
pub async fn lookup(conn: &mut Conn, id: BuildId) -> Result<Option<IfdBuild>, StorageError> {
    Ok(query!(conn, |c| ifd_builds::table.find(id).select(IfdBuild::as_select()).first(c).await.optional()?))
}

/// The builds of an evaluation that have ended, and whose logs are still rows.
pub async fn unarchived(conn: &mut Conn, evaluation: EvaluationId) -> Result<Vec<BuildId>, StorageError> {
    Ok(query!(conn, |c| {
        ifd_builds::table
            .inner_join(attempts::table.on(attempts::build.eq(ifd_builds::id).and(attempts::epoch.eq(ATTEMPT))))
            .filter(ifd_builds::evaluation.eq(evaluation))
            .filter(attempts::finished_at.is_not_null())
            .filter(attempts::log_frames.is_null())
            .select(ifd_builds::id)
            .load(c)
            .await?
    }))
}

/// A page of the builds of an evaluation, of one status or all, oldest first; and how many there are.
pub(crate) async fn page(
    conn: &mut Conn,
    evaluation: EvaluationId,
    limit: i64,
    offset: i64,
    status: Option<BuildStatus>,
) -> Result<(Vec<BuildSummary>, i64), StorageError> {
    macro_rules! all {
        () => {{
            let all = ifd_builds::table.filter(ifd_builds::evaluation.eq(evaluation)).into_boxed::<DB>();
            match status {
                Some(status) => all.filter(ifd_builds::status.eq(status)),
                None => all,
            }
        }};
    }
    let total: i64 = query!(&mut *conn, |c| all!().count().get_result(c).await?);
    if offset >= total {
        return Ok((Vec::new(), total));
    }
    let rows: Vec<IfdBuild> = query!(conn, |c| {
        let page = all!().order(ifd_builds::id).limit(limit).offset(offset);
        page.select(IfdBuild::as_select()).load(c).await?
    });
    let line = |build: IfdBuild| BuildSummary {
        id: build.id,
        kind: BuildKind::Ifd,
        name: build.name().to_owned(),
        drv_path: build.drv_path,
        status: build.status,
        updated_at: build.updated_at,
        duration_ms: build.duration_ms,
        has_artefacts: false,
    };
    Ok((rows.into_iter().map(line).collect(), total))
}

/// The build with this id as a node of a graph in which it is alone.
pub(crate) async fn node(conn: &mut Conn, id: BuildId) -> Result<Option<GraphNode>, StorageError> {
    let node = |build: IfdBuild| GraphNode {
        id: build.id,
        name: build.name().to_owned(),
        path: build.drv_path,
        status: build.status,
        created_at: build.started_at,
        updated_at: build.updated_at,
    };
    Ok(lookup(conn, id).await?.map(node))
}

/// Whether an evaluation ran a build.
pub(crate) async fn is_of(conn: &mut Conn, evaluation: EvaluationId, id: BuildId) -> Result<bool, StorageError> {
    Ok(query!(conn, |c| {
        let one = ifd_builds::table.find(id).filter(ifd_builds::evaluation.eq(evaluation)).select(ifd_builds::id);
        diesel::select(diesel::dsl::exists(one)).get_result(c).await?
    }))
}

/// The builds of an evaluation, by id, from the first behind `after` on.
pub(crate) async fn begun(
    conn: &mut Conn,
    evaluation: EvaluationId,
    after: BuildId,
    limit: i64,
) -> Result<Vec<BuildId>, StorageError> {
    Ok(query!(conn, |c| {
        let all = ifd_builds::table.filter(ifd_builds::evaluation.eq(evaluation)).filter(ifd_builds::id.gt(after));
        all.order(ifd_builds::id).limit(limit).select(ifd_builds::id).load(c).await?
    }))
}
