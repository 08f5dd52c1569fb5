//! Projects as JSON.

use gradient_auth::Caller;
use gradient_domain::{
    BuildStatus, Concurrency, DisplayName, EvaluationId, Moment, OrgPermission, OrganizationName, Priority, ProjectId,
    ProjectName, Publish, RepositoryUrl, Username, Wildcard,
};
use gradient_engine::{Engine, Evaluation, FoundOrganization, Project};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ApiError, routes::evaluations::EvaluationSummary};

/// How many evaluations the details of a project show.
const SHOWN: u32 = 10;

/// A project as whoever may see it sees it.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the shape of the answer")]
#[schema(as = Project, title = "Project")]
pub(crate) struct ProjectBody {
    id: ProjectId,
    organization: OrganizationName,
    name: ProjectName,
    display_name: DisplayName,
    description: String,
    repository: RepositoryUrl,
    branch: Option<String>,
    wildcard: Wildcard,
    active: bool,
    keep_evaluations: i32,
    concurrency: Concurrency,
    poll_interval_secs: i32,
    publish: Publish,
    allow_ifd: bool,
    priority: Priority,
    last_evaluation: Option<EvaluationId>,
    last_check_at: Option<Moment>,
    created_by: Option<Username>,
    created_at: Moment,
    can_edit: bool,
    can_trigger: bool,
}

impl ProjectBody {
    pub(super) async fn new(
        project: Project,
        found: &FoundOrganization,
        caller: &Caller,
        engine: &Engine,
    ) -> Result<Self, ApiError> {
        let created_by = match project.created_by {
            Some(user) => engine.username(user).await?,
            None => None,
        };
        let last_evaluation = engine.evaluation_of_project(project.id, None).await?;
        let permissions = found.access.permissions(caller);
        Ok(Self {
            id: project.id,
            organization: found.organization.name.clone(),
            name: project.name,
            display_name: project.display_name,
            description: project.description,
            repository: project.repository,
            branch: project.branch,
            wildcard: project.wildcard,
            active: project.active,
            keep_evaluations: project.keep_evaluations,
            concurrency: project.concurrency,
            poll_interval_secs: project.poll_interval_secs,
            publish: project.publish,
            allow_ifd: project.allow_ifd,
            priority: project.priority,
            last_evaluation,
            last_check_at: project.last_check_at,
            created_by,
            created_at: project.created_at,
            can_edit: permissions.contains(OrgPermission::EditProject),
            can_trigger: permissions.contains(OrgPermission::TriggerEvaluation),
        })
    }
}

/// A project with its newest evaluations.
#[derive(Serialize, ToSchema)]
#[schema(as = ProjectDetails)]
pub(crate) struct DetailsBody {
    #[serde(flatten)]
    project: ProjectBody,
    last_evaluations: Vec<EvaluationSummary>,
    queue: QueueBody,
}

/// The builds that the project still waits for.
#[derive(Serialize, ToSchema)]
#[schema(as = Queue)]
struct QueueBody {
    queued: i32,
    building: i32,
}

impl DetailsBody {
    pub(super) async fn new(project: ProjectBody, id: ProjectId, engine: &Engine) -> Result<Self, ApiError> {
        let (evaluations, _) = engine.evaluations(id, SHOWN, 0).await?;
        let count = |status: BuildStatus| evaluations.iter().map(|evaluation| evaluation.builds.of(status)).sum();
        let queue = QueueBody { queued: count(BuildStatus::Queued), building: count(BuildStatus::Building) };
        let last_evaluations = summaries(evaluations, engine).await?;
        Ok(Self { project, last_evaluations, queue })
    }
}

/// Evaluations with the messages of their commits.
pub(super) async fn summaries(evaluations: Vec<Evaluation>, engine: &Engine) -> Result<Vec<EvaluationSummary>, ApiError> {
    let mut summaries = Vec::with_capacity(evaluations.len());
    for evaluation in evaluations {
        let commit = engine.find_commit(evaluation.commit).await?;
        let message = commit.map(|commit| commit.message).unwrap_or_default();
        summaries.push(EvaluationSummary::new(evaluation, message));
    }
    Ok(summaries)
}
