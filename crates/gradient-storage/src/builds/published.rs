use std::collections::HashSet;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, EvaluationId, Publish};
use gradient_nix::StorePath;

use crate::{
    Conn, StorageError,
    conn::{KEYS_PER_QUERY, query},
    schema::{builds, derivation_outputs, entry_points, evaluation_builds, evaluations},
};

/// Whether the caches get a build's outputs: it is an entry point's, or an evaluation that needs it publishes all.
pub async fn is_published(conn: &mut Conn, id: BuildId) -> Result<bool, StorageError> {
    Ok(are_published(conn, &[id]).await?.contains(&id))
}

/// Those of the builds whose outputs the caches get.
pub async fn are_published(conn: &mut Conn, ids: &[BuildId]) -> Result<HashSet<BuildId>, StorageError> {
    let mut published = HashSet::new();
    for chunk in ids.chunks(KEYS_PER_QUERY) {
        let roots: Vec<BuildId> = query!(&mut *conn, |c| {
            let chunk = chunk.iter().copied().map(Some);
            let roots = entry_points::table.filter(entry_points::build.eq_any(chunk));
            roots.select(entry_points::build.assume_not_null()).load(c).await?
        });
        published.extend(roots);
        let needed: Vec<BuildId> = query!(&mut *conn, |c| {
            let links = evaluation_builds::table.inner_join(evaluations::table).filter(evaluation_builds::build.eq_any(chunk));
            links.filter(evaluations::publish.eq(Publish::All)).select(evaluation_builds::build).load(c).await?
        });
        published.extend(needed);
    }
    Ok(published)
}

/// The output paths that the caches get because of an evaluation, of the builds that succeeded so far: those of its entry
/// points, or with [`Publish::All`] those of all its builds.
pub async fn published_outputs(conn: &mut Conn, evaluation: EvaluationId) -> Result<Vec<StorePath>, StorageError> {
    const SUCCESSES: [BuildStatus; 2] = [BuildStatus::Completed, BuildStatus::Substituted];
    let publish: Option<Publish> =
        query!(&mut *conn, |c| { evaluations::table.find(evaluation).select(evaluations::publish).first(c).await.optional()? });
    let all = publish == Some(Publish::All);
    Ok(query!(conn, |c| {
        let links = evaluation_builds::table.filter(evaluation_builds::evaluation.eq(evaluation));
        let needed = links.filter(evaluation_builds::status.eq_any(SUCCESSES)).select(evaluation_builds::build);
        let roots = entry_points::table.filter(entry_points::evaluation.eq(evaluation));
        let roots = roots.filter(entry_points::build.is_not_null()).select(entry_points::build.assume_not_null());
        let mut outputs = builds::table
            .inner_join(derivation_outputs::table.on(derivation_outputs::derivation.eq(builds::derivation)))
            .filter(derivation_outputs::path.is_not_null())
            .filter(builds::status.eq_any(SUCCESSES))
            .into_boxed::<DB>();
        outputs = if all { outputs.filter(builds::id.eq_any(needed)) } else { outputs.filter(builds::id.eq_any(roots)) };
        outputs.select(derivation_outputs::path.assume_not_null()).distinct().load(c).await?
    }))
}
