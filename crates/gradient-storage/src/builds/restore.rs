use std::collections::HashMap;

use diesel::prelude::*;
use gradient_domain::{BuildId, BuildStatus, DerivationId, Epoch, EvaluationId, OrganizationId, WorkerId};

use super::latest;
use crate::{
    Conn, FeatureList, StorageError,
    conn::load_rows,
    schema::{builds, derivation_inputs, derivations, evaluation_builds},
};

/// A build as the scheduler needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredBuild {
    /// Its id.
    pub build: BuildId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// The derivation's name.
    pub name: String,
    /// Whether it is a fetch, whose result is known before.
    pub fixed: bool,
    /// What it is built on.
    pub system: String,
    /// The system features it needs, sorted.
    pub features: Vec<String>,
    /// The builds of its inputs; none of one that has its outputs.
    pub dependencies: Vec<BuildId>,
    /// Where it stands.
    pub status: BuildStatus,
    /// Its newest assignment.
    pub epoch: Epoch,
    /// Who has it.
    pub worker: Option<WorkerId>,
}

type Package = (String, bool, String, FeatureList);
type Row = (BuildId, OrganizationId, DerivationId, BuildStatus, Epoch, Option<WorkerId>, Package);

/// The builds that an evaluation needs, in the order in which they were made.
#[derive(Debug)]
pub struct EvaluationNodes(Vec<Row>);

/// What those builds need, as far as it still matters.
#[derive(Debug)]
pub struct EvaluationEdges(Vec<(BuildId, DerivationId)>);

/// All builds that an evaluation needs, with the edges that still matter.
pub async fn of_evaluation(conn: &mut Conn, evaluation: EvaluationId) -> Result<Vec<RestoredBuild>, StorageError> {
    let (nodes, edges) = (nodes_of(conn, evaluation).await?, edges_of(conn, evaluation).await?);
    with_edges(conn, nodes, edges).await
}

/// The first part of [`of_evaluation`], which can be read beside [the second](edges_of).
pub async fn nodes_of(conn: &mut Conn, evaluation: EvaluationId) -> Result<EvaluationNodes, StorageError> {
    Ok(EvaluationNodes(load_rows!(
        conn,
        evaluation_builds::table
            .inner_join(builds::table.inner_join(derivations::table))
            .filter(evaluation_builds::evaluation.eq(evaluation))
            .order(builds::id)
            .select((
                builds::id,
                builds::organization,
                builds::derivation,
                builds::status,
                builds::epoch,
                builds::worker,
                (derivations::name, derivations::fixed, derivations::system, derivations::features),
            ))
    )))
}

/// The second part of [`of_evaluation`].
pub async fn edges_of(conn: &mut Conn, evaluation: EvaluationId) -> Result<EvaluationEdges, StorageError> {
    Ok(EvaluationEdges(load_rows!(
        conn,
        evaluation_builds::table
            .inner_join(builds::table)
            .inner_join(derivation_inputs::table.on(derivation_inputs::derivation.eq(builds::derivation)))
            .filter(evaluation_builds::evaluation.eq(evaluation))
            .filter(builds::status.ne_all([BuildStatus::Completed, BuildStatus::Substituted]))
            .select((builds::id, derivation_inputs::input))
    )))
}

/// Puts both parts together.
pub async fn with_edges(
    conn: &mut Conn,
    EvaluationNodes(rows): EvaluationNodes,
    EvaluationEdges(edges): EvaluationEdges,
) -> Result<Vec<RestoredBuild>, StorageError> {
    let mut build_of: HashMap<DerivationId, BuildId> = rows.iter().map(|row| (row.2, row.0)).collect();
    // An input that the evaluation is not linked to is whatever its newest build is.
    let foreign: Vec<DerivationId> =
        edges.iter().map(|(_, input)| *input).filter(|input| !build_of.contains_key(input)).collect();
    build_of.extend(latest(conn, &foreign).await?.into_iter().map(|(derivation, latest)| (derivation, latest.build)));
    let mut dependencies: HashMap<BuildId, Vec<BuildId>> = HashMap::with_capacity(rows.len());
    for (build, input) in edges {
        dependencies.entry(build).or_default().extend(build_of.get(&input));
    }
    let restored = |(build, organization, _, status, epoch, worker, (name, fixed, system, features)): Row| RestoredBuild {
        build,
        organization,
        name,
        fixed,
        system,
        features: features.0,
        dependencies: dependencies.remove(&build).unwrap_or_default(),
        status,
        epoch,
        worker,
    };
    Ok(rows.into_iter().map(restored).collect())
}
