use std::collections::HashMap;

use diesel::{prelude::*, sql_types::BigInt};
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, DerivationId, Moment, sql::Key};
use gradient_nix::StorePath;

use super::find;
use crate::{
    Conn, StorageError,
    conn::{KEYS_PER_QUERY, query},
    ifd_builds,
    schema::{builds, derivation_inputs, derivations},
};

/// What a build is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Where it begins.
    pub root: BuildId,
    /// The builds, the root first, nearer ones before farther ones.
    pub nodes: Vec<GraphNode>,
    /// Which of them needs which.
    pub edges: Vec<GraphEdge>,
}

/// One build of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct GraphNode {
    /// Its id.
    pub id: BuildId,
    /// The derivation's name.
    pub name: String,
    /// The derivation's path.
    pub path: StorePath,
    /// Where it stands.
    pub status: BuildStatus,
    /// When it was made.
    pub created_at: Moment,
    /// When its status last changed.
    pub updated_at: Moment,
}

type NodeColumns = (builds::id, derivations::name, derivations::drv_path, builds::status, builds::queued_at, builds::updated_at);

const NODE: NodeColumns =
    (builds::id, derivations::name, derivations::drv_path, builds::status, builds::queued_at, builds::updated_at);

/// An edge of a graph: `source` is built before `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GraphEdge {
    /// What is needed.
    pub source: BuildId,
    /// What needs it.
    pub target: BuildId,
}

/// What a build is made from, breadth first, at most `limit` builds. Each derivation is shown by its newest build. What an import
/// from derivation was made from is not known.
pub async fn graph(conn: &mut Conn, root: BuildId, limit: usize) -> Result<Graph, StorageError> {
    if let Some(node) = ifd_builds::node(conn, root).await? {
        return Ok(Graph { root, nodes: vec![node], edges: Vec::new() });
    }
    let start = find(conn, root).await?.derivation;
    let derivations = closure(conn, start, limit.max(1)).await?;
    let mut newest = newest(conn, &derivations).await?;
    for node in nodes(conn, &[root]).await? {
        newest.insert(start, node);
    }
    let build = |derivation: &DerivationId| newest.get(derivation).map(|node| node.id);
    let edge =
        |(target, input): (DerivationId, DerivationId)| Some(GraphEdge { source: build(&input)?, target: build(&target)? });
    let edges = inputs(conn, &derivations).await?.into_iter().filter_map(edge).collect();
    let nodes = derivations.iter().filter_map(|derivation| newest.remove(derivation)).collect();
    Ok(Graph { root, nodes, edges })
}

/// A derivation and what it needs, breadth first, until there are `limit`. Both databases add to a recursive query wave by wave,
/// and stop as soon as they have enough.
async fn closure(conn: &mut Conn, start: DerivationId, limit: usize) -> Result<Vec<DerivationId>, StorageError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Key)]
        id: DerivationId,
    }
    const CLOSURE: &str = "WITH RECURSIVE closure(id) AS (\
        SELECT $1 UNION SELECT needed.input FROM closure JOIN derivation_inputs AS needed ON needed.derivation = closure.id\
        ) SELECT id FROM closure LIMIT $2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<Row> =
        query!(conn, |c| diesel::sql_query(CLOSURE).bind::<Key, _>(start).bind::<BigInt, _>(limit).load(c).await?);
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// The builds of a build's direct inputs; none of an import from derivation.
pub async fn dependencies(conn: &mut Conn, id: BuildId) -> Result<Vec<GraphNode>, StorageError> {
    if ifd_builds::lookup(conn, id).await?.is_some() {
        return Ok(Vec::new());
    }
    let derivation = find(conn, id).await?.derivation;
    let inputs: Vec<DerivationId> = inputs(conn, &[derivation]).await?.into_iter().map(|(_, input)| input).collect();
    newest_in_order(conn, &inputs).await
}

/// The builds of what needs a build directly.
pub async fn dependents(conn: &mut Conn, id: BuildId) -> Result<Vec<GraphNode>, StorageError> {
    let derivation = find(conn, id).await?.derivation;
    let users: Vec<DerivationId> = query!(&mut *conn, |c| {
        let edges = derivation_inputs::table.filter(derivation_inputs::input.eq(derivation));
        edges.select(derivation_inputs::derivation).order(derivation_inputs::derivation).load(c).await?
    });
    newest_in_order(conn, &users).await
}

/// The names of these builds, in this order; of what is not there, none.
pub async fn names(conn: &mut Conn, ids: &[BuildId]) -> Result<Vec<String>, StorageError> {
    Ok(nodes(conn, ids).await?.into_iter().map(|node| node.name).collect())
}

/// The newest builds of these derivations, in their order.
async fn newest_in_order(conn: &mut Conn, derivations: &[DerivationId]) -> Result<Vec<GraphNode>, StorageError> {
    let mut found = newest(conn, derivations).await?;
    Ok(derivations.iter().filter_map(|derivation| found.remove(derivation)).collect())
}

/// The newest build of each of these derivations that has one.
async fn newest(conn: &mut Conn, of: &[DerivationId]) -> Result<HashMap<DerivationId, GraphNode>, StorageError> {
    let mut newest = HashMap::with_capacity(of.len());
    for chunk in of.chunks(KEYS_PER_QUERY) {
        let rows: Vec<(DerivationId, GraphNode)> = query!(&mut *conn, |c| {
            let all = builds::table.inner_join(derivations::table).filter(builds::derivation.eq_any(chunk));
            all.order((builds::derivation, builds::generation)).select((builds::derivation, NODE)).load(c).await?
        });
        // Later generations overwrite earlier ones.
        newest.extend(rows);
    }
    Ok(newest)
}

/// The edges from these derivations to their inputs.
pub(super) async fn inputs(conn: &mut Conn, of: &[DerivationId]) -> Result<Vec<(DerivationId, DerivationId)>, StorageError> {
    let mut edges = Vec::new();
    for chunk in of.chunks(KEYS_PER_QUERY) {
        let rows: Vec<(DerivationId, DerivationId)> = query!(&mut *conn, |c| {
            let these = derivation_inputs::table.filter(derivation_inputs::derivation.eq_any(chunk));
            these.order((derivation_inputs::derivation, derivation_inputs::input)).load(c).await?
        });
        edges.extend(rows);
    }
    Ok(edges)
}

/// These builds, in this order.
async fn nodes(conn: &mut Conn, ids: &[BuildId]) -> Result<Vec<GraphNode>, StorageError> {
    let mut found: HashMap<BuildId, GraphNode> = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(KEYS_PER_QUERY) {
        let rows: Vec<GraphNode> = query!(&mut *conn, |c| {
            let all = builds::table.inner_join(derivations::table).filter(builds::id.eq_any(chunk));
            all.select(NODE).load(c).await?
        });
        found.extend(rows.into_iter().map(|node| (node.id, node)));
    }
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}
