use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, Epoch, EvaluationId, Moment};
use gradient_nix::StorePath;

use super::BuildCounts;
use crate::{
    Conn, StorageError,
    conn::query,
    schema::{builds as build_rows, derivations, evaluation_builds, evaluation_counters},
};

/// A build as a line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct BuildSummary {
    /// Its id.
    pub id: BuildId,
    /// The derivation's name.
    pub name: String,
    /// The derivation's path.
    pub drv_path: StorePath,
    /// Where it stands.
    pub status: BuildStatus,
    /// When that last changed.
    pub updated_at: Moment,
    /// How long the builder ran.
    pub duration_ms: Option<i64>,
}

/// A page of the builds that an evaluation needs, of one status or all, in a fixed order; and how many there are.
pub async fn builds(
    conn: &mut Conn,
    evaluation: EvaluationId,
    limit: i64,
    offset: i64,
    status: Option<BuildStatus>,
) -> Result<(Vec<BuildSummary>, i64), StorageError> {
    let counts: Option<BuildCounts> = query!(&mut *conn, |c| {
        evaluation_counters::table.find(evaluation).select(BuildCounts::as_select()).first(c).await.optional()?
    });
    let counts = counts.unwrap_or_default();
    let total = status.map_or_else(|| counts.total(), |status| counts.of(status));
    // The page is cut from the index alone; only what is on it is looked up.
    let page: Vec<BuildId> = query!(&mut *conn, |c| {
        let mut links = evaluation_builds::table.filter(evaluation_builds::evaluation.eq(evaluation)).into_boxed::<DB>();
        if let Some(status) = status {
            links = links.filter(evaluation_builds::status.eq(status));
        }
        links.order(evaluation_builds::build).limit(limit).offset(offset).select(evaluation_builds::build).load(c).await?
    });
    let rows = query!(conn, |c| {
        build_rows::table
            .inner_join(derivations::table)
            .filter(build_rows::id.eq_any(&page))
            .order(build_rows::id)
            .select((
                build_rows::id,
                derivations::name,
                derivations::drv_path,
                build_rows::status,
                build_rows::updated_at,
                build_rows::duration_ms,
            ))
            .load(c)
            .await?
    });
    Ok((rows, i64::from(total)))
}

/// Whether an evaluation needs a build.
pub async fn needs(conn: &mut Conn, evaluation: EvaluationId, build: BuildId) -> Result<bool, StorageError> {
    Ok(query!(conn, |c| {
        let link = evaluation_builds::table.find((evaluation, build)).select(evaluation_builds::build);
        diesel::select(diesel::dsl::exists(link)).get_result(c).await?
    }))
}

/// The builds of an evaluation that were ever given to a worker, by id, from the first behind `after` on.
pub async fn begun_builds(
    conn: &mut Conn,
    evaluation: EvaluationId,
    after: BuildId,
    limit: i64,
) -> Result<Vec<BuildId>, StorageError> {
    Ok(query!(conn, |c| {
        evaluation_builds::table
            .inner_join(build_rows::table)
            .filter(evaluation_builds::evaluation.eq(evaluation))
            .filter(evaluation_builds::build.gt(after))
            .filter(build_rows::epoch.gt(Epoch::NONE))
            .order(evaluation_builds::build)
            .limit(limit)
            .select(evaluation_builds::build)
            .load(c)
            .await?
    }))
}
