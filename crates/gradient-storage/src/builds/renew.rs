use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, DerivationId, EvaluationId, FailureKind, Moment, OrganizationId};

use super::{Beginning, LatestBuild, NewBuild, graph::inputs, insert_many, latest};
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

/// Which builds that ended without outputs another evaluation needs anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// All that can be built: somebody wants it.
    Failed,
    /// Those only that cannot be [reused](LatestBuild::is_reusable), and those that failed because of them.
    Unusable,
}

impl Renewal {
    fn renews(self, latest: &LatestBuild, is_kept_from_it: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Failed => latest.has_failed() && latest.failure != Some(FailureKind::UnsupportedDerivation),
            Self::Unusable if latest.status == BuildStatus::DependencyFailed => !is_kept_from_it(),
            Self::Unusable => !latest.is_reusable(),
        }
    }
}

/// For each build that an evaluation needs, the one that another evaluation of the same needs: a new generation where the newest is
/// to be [renewed](Renewal), or else the newest. Builds come after those that they need. To be called with builds
/// [locked](super::lock).
pub async fn renew(
    conn: &mut Conn,
    organization: OrganizationId,
    evaluation: EvaluationId,
    renewal: Renewal,
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
    let needs = needs_of_dependents(conn, &newest).await?;
    let mut renewed = HashMap::with_capacity(needed.len());
    let (mut fresh, mut failed) = (Vec::new(), HashSet::new());
    for (build, derivation) in needed {
        let Some(latest) = newest.get(&derivation) else { continue };
        let is_kept_from_it = || needs.get(&derivation).is_some_and(|inputs| inputs.iter().any(|input| failed.contains(input)));
        if renewal.renews(latest, is_kept_from_it) {
            let generation = latest.generation.saturating_add(1);
            let id = BuildId::new();
            fresh.push(NewBuild { id, organization, derivation, generation, beginning: Beginning::Queued, queued_at: now });
            renewed.insert(build, id);
        } else {
            if latest.has_failed() {
                failed.insert(derivation);
            }
            renewed.insert(build, latest.build);
        }
    }
    insert_many(conn, fresh).await?;
    Ok(renewed)
}

/// What those derivations need whose newest build failed because of others.
async fn needs_of_dependents(
    conn: &mut Conn,
    newest: &HashMap<DerivationId, LatestBuild>,
) -> Result<HashMap<DerivationId, Vec<DerivationId>>, StorageError> {
    let dependents = newest.iter().filter(|(_, latest)| latest.status == BuildStatus::DependencyFailed);
    let dependents: Vec<DerivationId> = dependents.map(|(derivation, _)| *derivation).collect();
    let mut needs: HashMap<DerivationId, Vec<DerivationId>> = HashMap::with_capacity(dependents.len());
    for (derivation, input) in inputs(conn, &dependents).await? {
        needs.entry(derivation).or_default().push(input);
    }
    Ok(needs)
}
