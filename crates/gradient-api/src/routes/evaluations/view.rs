//! Evaluations as JSON.

use std::collections::BTreeMap;

use gradient_domain::{
    BuildId, BuildKind, BuildStatus, CommitId, EntryPointId, EvaluationId, EvaluationStatus, EvaluationWait, MessageLevel,
    Moment, ProjectId, UserId,
};
use gradient_engine::{
    BuildCounts, BuildPage, BuildSummary, EntryPointView, Estimate, Evaluation, EvaluationMessage, Neighbours,
};
use serde::Serialize;
use utoipa::ToSchema;

/// How many builds there are, by status.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BuildCounts)]
pub(crate) struct BuildCountsBody {
    total: i32,
    by_status: BTreeMap<BuildStatus, i32>,
}

impl From<BuildCounts> for BuildCountsBody {
    fn from(counts: BuildCounts) -> Self {
        let by_status = BuildStatus::ALL.iter().map(|status| (*status, counts.of(*status))).collect();
        Self { total: counts.total(), by_status }
    }
}

/// An evaluation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Evaluation)]
pub(crate) struct EvaluationBody {
    id: EvaluationId,
    project: Option<ProjectId>,
    repository: String,
    commit: CommitId,
    wildcard: String,
    status: EvaluationStatus,
    waiting_reason: Option<EvaluationWait>,
    /// Seconds until its builds have ended, as far as is known while it builds.
    eta_secs: Option<u64>,
    /// The same, when they take half as long as expected and have the workers for themselves.
    eta_min_secs: Option<u64>,
    /// The same, when everything takes twice as long as expected and what else waits goes first.
    eta_max_secs: Option<u64>,
    previous: Option<EvaluationId>,
    next: Option<EvaluationId>,
    error: Option<String>,
    error_count: i32,
    warning_count: i32,
    triggered_by: Option<UserId>,
    builds: BuildCountsBody,
    created_at: Moment,
    updated_at: Moment,
    finished_at: Option<Moment>,
}

impl EvaluationBody {
    pub(crate) fn new(evaluation: Evaluation, neighbours: Neighbours, estimate: Option<Estimate>) -> Self {
        Self {
            id: evaluation.id,
            project: evaluation.project,
            repository: evaluation.repository,
            commit: evaluation.commit,
            wildcard: evaluation.wildcard,
            status: evaluation.status,
            waiting_reason: evaluation.waiting.map(|waiting| waiting.0),
            eta_secs: estimate.map(|estimate| estimate.expected_secs),
            eta_min_secs: estimate.map(|estimate| estimate.least_secs),
            eta_max_secs: estimate.map(|estimate| estimate.most_secs),
            previous: neighbours.previous,
            next: neighbours.next,
            error: evaluation.error,
            error_count: evaluation.error_count,
            warning_count: evaluation.warning_count,
            triggered_by: evaluation.triggered_by,
            builds: evaluation.builds.into(),
            created_at: evaluation.created_at,
            updated_at: evaluation.updated_at,
            finished_at: evaluation.finished_at,
        }
    }
}

/// An evaluation as a line of a project's list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EvaluationSummary {
    id: EvaluationId,
    commit: CommitId,
    commit_message: String,
    status: EvaluationStatus,
    wildcard: String,
    builds: BuildCountsBody,
    entry_points: EntryPointCountsBody,
    errors: i32,
    warnings: i32,
    created_at: Moment,
    finished_at: Option<Moment>,
}

/// How many entry points there are, and how they ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EntryPointCounts)]
struct EntryPointCountsBody {
    total: i32,
    completed: i32,
    failed: i32,
}

impl EvaluationSummary {
    pub(crate) fn new(evaluation: Evaluation, commit_message: String) -> Self {
        let points = evaluation.entry_points;
        Self {
            id: evaluation.id,
            commit: evaluation.commit,
            commit_message,
            status: evaluation.status,
            wildcard: evaluation.wildcard,
            builds: evaluation.builds.into(),
            entry_points: EntryPointCountsBody { total: points.total, completed: points.completed, failed: points.failed },
            errors: evaluation.error_count,
            warnings: evaluation.warning_count,
            created_at: evaluation.created_at,
            finished_at: evaluation.finished_at,
        }
    }
}

/// A part of an evaluation's builds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvaluationBuilds)]
pub(crate) struct BuildsBody {
    builds: Vec<BuildLine>,
    total: i64,
}

/// A build as a line of a list.
#[derive(Debug, Serialize, ToSchema)]
struct BuildLine {
    id: BuildId,
    /// What it is for: the evaluation needs it, or has imported from it.
    kind: BuildKind,
    name: String,
    derivation_path: String,
    status: BuildStatus,
    has_artefacts: bool,
    updated_at: Moment,
    build_time_ms: Option<i64>,
}

impl From<BuildPage> for BuildsBody {
    fn from(page: BuildPage) -> Self {
        Self { builds: page.builds.into_iter().map(BuildLine::from).collect(), total: page.total }
    }
}

impl From<BuildSummary> for BuildLine {
    fn from(build: BuildSummary) -> Self {
        Self {
            id: build.id,
            kind: build.kind,
            name: build.name,
            derivation_path: build.drv_path.to_absolute(),
            status: build.status,
            has_artefacts: build.has_artefacts,
            updated_at: build.updated_at,
            build_time_ms: build.duration_ms,
        }
    }
}

/// A message of an evaluation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvaluationMessage, title = "EvaluationMessage")]
pub(crate) struct MessageBody {
    level: MessageLevel,
    source: String,
    attribute: Option<String>,
    message: String,
    created_at: Moment,
}

impl From<EvaluationMessage> for MessageBody {
    fn from(message: EvaluationMessage) -> Self {
        Self {
            level: message.level,
            source: message.source,
            attribute: message.attribute,
            message: message.message,
            created_at: message.created_at,
        }
    }
}

/// A root build, or the attribute that there should be one for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EntryPoint, title = "EntryPoint")]
pub(crate) struct EntryPointBody {
    id: EntryPointId,
    build_id: Option<BuildId>,
    derivation_path: Option<String>,
    eval: String,
    error: Option<String>,
    build_status: Option<BuildStatus>,
    has_artefacts: bool,
    outputs: BTreeMap<String, Option<String>>,
    architecture: Option<String>,
    build_time_ms: Option<i64>,
    created_at: Moment,
}

impl From<EntryPointView> for EntryPointBody {
    fn from(point: EntryPointView) -> Self {
        let build = point.build.as_ref();
        let outputs = build.map(|build| build.outputs.clone()).unwrap_or_default();
        Self {
            id: point.id,
            build_id: build.map(|build| build.id),
            derivation_path: build.map(|build| build.drv_path.to_absolute()),
            eval: point.attribute,
            build_status: build.map(|build| build.status),
            has_artefacts: build.is_some_and(|build| build.has_artefacts),
            outputs: outputs.into_iter().map(|(name, path)| (name, path.map(|path| path.to_absolute()))).collect(),
            architecture: build.map(|build| build.system.clone()),
            build_time_ms: build.and_then(|build| build.duration_ms),
            error: point.error,
            created_at: point.created_at,
        }
    }
}
