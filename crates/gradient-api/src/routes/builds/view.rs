//! Builds as JSON.

use std::collections::BTreeMap;

use gradient_domain::{BuildId, BuildKind, BuildStatus, BuildWait, EvaluationId, FailureKind, Moment, WorkerId};
use gradient_engine::{Attempt, BuildDetails, Graph, GraphNode};
use serde::Serialize;
use utoipa::ToSchema;

/// A build.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Build)]
pub(super) struct BuildBody {
    id: BuildId,
    /// What it is for: an evaluation needs it, or has imported from it.
    kind: BuildKind,
    name: String,
    evaluation: Option<EvaluationId>,
    status: BuildStatus,
    derivation_path: String,
    architecture: String,
    required_features: Vec<String>,
    worker: Option<WorkerId>,
    outputs: BTreeMap<String, Option<String>>,
    /// The same as `outputs`, under the name that older clients read.
    output: BTreeMap<String, Option<String>>,
    attempts: Vec<AttemptBody>,
    queued_at: Moment,
    started_at: Option<Moment>,
    finished_at: Option<Moment>,
    build_time_ms: Option<i64>,
    failure: Option<FailureBody>,
    failed_dependency: Option<BuildId>,
    waiting_reason: Option<BuildWait>,
}

/// One try of a worker at a build.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
struct AttemptBody {
    attempt: u32,
    worker: WorkerId,
    assigned_at: Moment,
    started_at: Option<Moment>,
    finished_at: Option<Moment>,
    failure: Option<FailureBody>,
    log_bytes: i64,
}

/// Why a build, or one try at it, failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BuildFailure)]
struct FailureBody {
    kind: FailureKind,
    message: String,
    log_tail: Option<String>,
    /// Whether it failed before the evaluation asked for it, which took that failure over.
    cached: bool,
    failed_at: Option<Moment>,
}

impl From<Attempt> for AttemptBody {
    fn from(attempt: Attempt) -> Self {
        let failure = attempt.failure_kind.map(|kind| FailureBody {
            kind,
            message: attempt.failure_message.unwrap_or_default(),
            log_tail: None,
            cached: false,
            failed_at: attempt.finished_at,
        });
        Self {
            attempt: attempt.epoch.0,
            worker: attempt.worker,
            assigned_at: attempt.assigned_at,
            started_at: attempt.started_at,
            finished_at: attempt.finished_at,
            failure,
            log_bytes: attempt.log_bytes,
        }
    }
}

impl From<BuildDetails> for BuildBody {
    fn from(details: BuildDetails) -> Self {
        let BuildDetails { build, evaluation, cached_failure: cached, log_tail, attempts, waiting } = details;
        let failure = build.failure_kind.map(|kind| FailureBody {
            kind,
            message: build.failure_message.unwrap_or_default(),
            log_tail: log_tail.as_deref().map(whole_lines),
            cached,
            failed_at: build.finished_at,
        });
        let outputs: BTreeMap<_, _> =
            build.outputs.into_iter().map(|(name, path)| (name, path.map(|path| path.to_absolute()))).collect();
        Self {
            id: build.id,
            kind: build.kind,
            name: build.name,
            evaluation,
            status: build.status,
            derivation_path: build.drv_path.to_absolute(),
            architecture: build.system,
            required_features: build.features,
            worker: build.worker,
            output: outputs.clone(),
            outputs,
            attempts: attempts.into_iter().map(AttemptBody::from).collect(),
            queued_at: build.queued_at,
            started_at: build.started_at,
            finished_at: build.finished_at,
            build_time_ms: build.duration_ms,
            failure,
            failed_dependency: build.failed_dependency,
            waiting_reason: waiting,
        }
    }
}

/// The end of a log from the first line that is whole.
fn whole_lines(tail: &[u8]) -> String {
    let cut = tail.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let whole = if tail.len() < gradient_engine::LOG_TAIL_BYTES { tail } else { tail.get(cut..).unwrap_or_default() };
    String::from_utf8_lossy(whole).into_owned()
}

/// What a build is made from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BuildGraph)]
pub(super) struct GraphBody {
    root: BuildId,
    nodes: Vec<NodeBody>,
    edges: Vec<EdgeBody>,
}

/// A build in a graph.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BuildNode, title = "BuildNode")]
pub(super) struct NodeBody {
    id: BuildId,
    name: String,
    path: String,
    status: BuildStatus,
    created_at: Moment,
    updated_at: Moment,
}

/// `source` is built before `target`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BuildEdge)]
struct EdgeBody {
    source: BuildId,
    target: BuildId,
}

impl GraphBody {
    pub(super) fn new(root: BuildId, graph: Graph) -> Self {
        Self {
            root,
            nodes: graph.nodes.into_iter().map(NodeBody::from).collect(),
            edges: graph.edges.into_iter().map(|edge| EdgeBody { source: edge.source, target: edge.target }).collect(),
        }
    }
}

impl From<GraphNode> for NodeBody {
    fn from(node: GraphNode) -> Self {
        Self {
            id: node.id,
            name: node.name,
            path: node.path.to_absolute(),
            status: node.status,
            created_at: node.created_at,
            updated_at: node.updated_at,
        }
    }
}
