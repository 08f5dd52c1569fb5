use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, DerivationId, EvaluationId, FailureKind, Moment, OrganizationId};

use super::{NewBuild, insert_many, latest};
use crate::{
    Conn, StorageError,
    conn::query,
    schema::{builds, evaluation_builds},
};

/// Whether a build of an evaluation that has ended can be built again with another outcome: not when it succeeded, not when it
/// only failed because of others, and not when it is of a kind that is never built.
pub async fn any_renewable(conn: &mut Conn, evaluation: EvaluationId) -> Result<bool, StorageError> {
    Ok(query!(conn, |c| {
        let links = evaluation_builds::table.inner_join(builds::table);
        let links = links.filter(evaluation_builds::evaluation.eq(evaluation));
        let failed = builds::status.eq(BuildStatus::Failed);
        let can_be_built = builds::failure_kind.is_null().or(builds::failure_kind.ne(Some(FailureKind::UnsupportedDerivation)));
        let renewable = builds::status.eq(BuildStatus::Aborted).or(failed.and(can_be_built));
        diesel::select(diesel::dsl::exists(links.filter(renewable).select(builds::id))).get_result(c).await?
    }))
}

/// For each build that an evaluation needs, the one that a restart of it needs: a new generation where the newest has no outputs
/// and never will, or else the newest. Builds come after those that they need. To be called with builds
/// [locked](super::lock).
pub async fn renew(
    conn: &mut Conn,
    organization: OrganizationId,
    evaluation: EvaluationId,
    now: Moment,
) -> Result<HashMap<BuildId, BuildId>, StorageError> {
    // Ids are in the order in which builds were made, which is an order of the graph.
    let needed: Vec<(BuildId, DerivationId)> = query!(&mut *conn, |c| {
        let links = evaluation_builds::table.inner_join(builds::table);
        let links = links.filter(evaluation_builds::evaluation.eq(evaluation)).order(builds::id);
        links.select((builds::id, builds::derivation)).load(c).await?
    });
    let derivations: Vec<DerivationId> = needed.iter().map(|(_, derivation)| *derivation).collect();
    let newest = latest(conn, &derivations).await?;
    let mut renewed = HashMap::with_capacity(needed.len());
    let mut fresh = Vec::new();
    for (build, derivation) in needed {
        let Some(latest) = newest.get(&derivation) else { continue };
        let is_supported = latest.failure != Some(FailureKind::UnsupportedDerivation);
        if latest.status.is_final() && !latest.status.is_success() && is_supported {
            let generation = latest.generation.saturating_add(1);
            let id = BuildId::new();
            fresh.push(NewBuild { id, organization, derivation, generation, unsupported: None, queued_at: now });
            renewed.insert(build, id);
        } else {
            renewed.insert(build, latest.build);
        }
    }
    insert_many(conn, fresh).await?;
    Ok(renewed)
}
