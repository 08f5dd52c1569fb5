use std::collections::{BTreeSet, HashSet};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, DerivationId, EvaluationId, Moment};

use super::{latest, statuses};
use crate::{
    Conn, StorageError,
    conn::{KEYS_PER_QUERY, insert_rows, query},
    counters::{self, Delta},
    evaluations::BuildCounts,
    schema::{derivation_inputs, evaluation_builds, evaluation_counters, evaluations},
};

/// Notes that an evaluation needs these builds, and counts them. Those that it needs already are not counted twice; those that do
/// not exist are left out. To be called in a transaction.
pub async fn link(conn: &mut Conn, evaluation: EvaluationId, builds: &[BuildId], now: Moment) -> Result<(), StorageError> {
    if builds.is_empty() {
        return Ok(());
    }
    counters::lock(conn).await?;
    let counts: Option<BuildCounts> = query!(&mut *conn, |c| {
        evaluation_counters::table.find(evaluation).select(BuildCounts::as_select()).first(c).await.optional()?
    });
    // Those that are linked have the places below; none is ever unlinked.
    let mut positions = counts.unwrap_or_default().total()..;
    let wanted: BTreeSet<BuildId> = builds.iter().copied().collect();
    let wanted: Vec<BuildId> = wanted.into_iter().collect();
    let mut delta = Delta::default();
    let mut rows = Vec::new();
    for chunk in wanted.chunks(KEYS_PER_QUERY) {
        let linked: HashSet<BuildId> = query!(&mut *conn, |c| {
            let links = evaluation_builds::table.filter(evaluation_builds::evaluation.eq(evaluation));
            let links = links.filter(evaluation_builds::build.eq_any(chunk)).select(evaluation_builds::build);
            links.load(c).await?.into_iter().collect()
        });
        let fresh: Vec<BuildId> = chunk.iter().copied().filter(|build| !linked.contains(build)).collect();
        let statuses = statuses(conn, &fresh).await?;
        let existing = fresh.into_iter().filter_map(|build| Some((build, *statuses.get(&build)?)));
        for ((build, status), position) in existing.zip(&mut positions) {
            delta.add_build(status, 1);
            rows.push((
                evaluation_builds::evaluation.eq(evaluation),
                evaluation_builds::build.eq(build),
                evaluation_builds::status.eq(status),
                evaluation_builds::position.eq(position),
            ));
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    insert_rows!(&mut *conn, evaluation_builds::table, 4, rows);
    counters::adjust(conn, evaluation, delta).await?;
    query!(conn, |c| {
        diesel::update(evaluations::table.find(evaluation)).set(evaluations::updated_at.eq(now)).execute(c).await?
    });
    Ok(())
}

/// What some derivations need that have been built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// The newest builds of those of them that have succeeded.
    pub builds: Vec<BuildId>,
    /// The inputs of those that were built here, each once.
    pub inputs: Vec<DerivationId>,
}

/// The successful ones among the newest builds of these derivations, and what they needed.
pub async fn succeeded(conn: &mut Conn, derivations: &[DerivationId]) -> Result<Level, StorageError> {
    let mut latest = latest(conn, derivations).await?;
    latest.retain(|_, build| build.status.is_success());
    let builds = latest.values().map(|build| build.build).collect();
    latest.retain(|_, build| build.status == BuildStatus::Completed);
    let built: Vec<DerivationId> = latest.into_keys().collect();
    let mut inputs = BTreeSet::new();
    for chunk in built.chunks(KEYS_PER_QUERY) {
        let found: Vec<DerivationId> = query!(&mut *conn, |c| {
            let links = derivation_inputs::table.filter(derivation_inputs::derivation.eq_any(chunk));
            links.select(derivation_inputs::input).distinct().load(c).await?
        });
        inputs.extend(found);
    }
    Ok(Level { builds, inputs: inputs.into_iter().collect() })
}
