use std::collections::HashSet;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildStatus, DerivationId, EvaluationId};

use super::{graph::inputs, latest};
use crate::{
    Conn, StorageError,
    conn::query,
    schema::{builds, entry_points, evaluation_builds, evaluation_counters},
};

/// A derivation that is not built because an upstream has it, on which somebody relies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relied {
    /// The derivation.
    pub derivation: DerivationId,
    /// Whether it is an entry point's.
    pub is_entry_point: bool,
}

/// What another evaluation of the same would need of upstreams: derivations of entry points, and inputs of what is not built yet or
/// not any more.
pub async fn relied_upon(conn: &mut Conn, evaluation: EvaluationId) -> Result<Vec<Relied>, StorageError> {
    let counted: Option<i32> = query!(&mut *conn, |c| {
        let counters = evaluation_counters::table.find(evaluation);
        counters.select(evaluation_counters::builds_substituted).first(c).await.optional()?
    });
    if counted.unwrap_or_default() == 0 {
        return Ok(Vec::new());
    }
    let needed: Vec<DerivationId> = query!(&mut *conn, |c| {
        let links = evaluation_builds::table.inner_join(builds::table);
        let links = links.filter(evaluation_builds::evaluation.eq(evaluation));
        links.select(builds::derivation).order(builds::derivation).load(c).await?
    });
    let roots: Vec<DerivationId> = query!(&mut *conn, |c| {
        let roots = entry_points::table.inner_join(builds::table);
        let roots = roots.filter(entry_points::evaluation.eq(evaluation));
        roots.select(builds::derivation).load(c).await?
    });
    let newest = latest(conn, &needed).await?;
    let open: Vec<DerivationId> = newest.iter().filter(|(_, latest)| !latest.status.is_success()).map(|(id, _)| *id).collect();
    let wanted: HashSet<DerivationId> = inputs(conn, &open).await?.into_iter().map(|(_, input)| input).collect();
    let roots: HashSet<DerivationId> = roots.into_iter().collect();
    let is_substituted =
        |derivation: &DerivationId| newest.get(derivation).is_some_and(|latest| latest.status == BuildStatus::Substituted);
    let relied = needed.into_iter().filter(is_substituted).filter_map(|derivation| {
        let is_entry_point = roots.contains(&derivation);
        (is_entry_point || wanted.contains(&derivation)).then_some(Relied { derivation, is_entry_point })
    });
    Ok(relied.collect())
}
