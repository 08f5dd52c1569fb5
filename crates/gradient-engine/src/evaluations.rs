//! Evaluations as people ask for them: start, look at, end.

use gradient_domain::{
    BuildId, BuildStatus, Concurrency, EntryPointId, Epoch, EvaluationId, EvaluationStatus, Moment, Priority, ProjectId, UserId,
};
use gradient_scheduler::{Event, NewEvaluation as Added, Stage};
use gradient_storage::{
    builds::BuildSummary,
    commits,
    evaluations::{self, EntryPointView, Evaluation, EvaluationMessage, NewEvaluation},
    projects::Project,
};

use crate::{Change, Engine, EngineError};

/// What to evaluate.
#[derive(Debug, Clone, Default)]
pub struct EvaluationRequest {
    /// A commit, 40 hexadecimal digits; the head of the project's branch when there is none.
    pub commit: Option<String>,
    /// Who asks.
    pub triggered_by: Option<UserId>,
}

/// A page of the builds of an evaluation.
#[derive(Debug)]
pub struct BuildPage {
    /// The builds.
    pub builds: Vec<BuildSummary>,
    /// How many there are in all.
    pub total: i64,
}

impl Engine {
    /// Starts an evaluation of a project: finds the commit, does with running evaluations what the project says, and queues the
    /// fetch.
    pub async fn request_evaluation(&self, project: &Project, request: EvaluationRequest) -> Result<EvaluationId, EngineError> {
        let head = self.resolve_commit(project, request.commit.as_deref()).await?;
        let project_id = project.id;
        let running = self.storage().read(async move |conn| evaluations::unfinished_of_project(conn, project_id).await).await?;
        if project.concurrency == Concurrency::Skip && !running.is_empty() {
            return Err(EngineError::Conflict(format!("an evaluation of project `{}` is still running", project.name)));
        }

        let (id, now) = (EvaluationId::new(), Moment::now());
        let (organization, priority) = (project.organization, project.priority);
        let row = NewEvaluation {
            id,
            organization,
            project: Some(project.id),
            repository: project.repository.clone(),
            wildcard: project.wildcard.clone(),
            priority,
            publish: project.publish,
            allow_ifd: project.allow_ifd,
            triggered_by: request.triggered_by,
            created_at: now,
        };
        self.storage()
            .transaction(async move |conn| {
                let commit = commits::claim(conn, organization, &row.repository, &head, now).await?;
                evaluations::insert(conn, row, commit.id).await
            })
            .await?;
        for older in running {
            match project.concurrency {
                Concurrency::SoftAbort => self.end(older, StopRunning::No).await,
                Concurrency::HardAbort => self.end(older, StopRunning::Yes).await,
                Concurrency::Skip | Concurrency::All => {}
            }
        }
        let added = Added {
            evaluation: id,
            organization,
            priority,
            status: EvaluationStatus::Queued,
            stage: Stage::Fetch,
            job_epoch: Epoch::NONE,
            lease: None,
        };
        self.core().send(Event::EvaluationAdded(added)).await;
        Ok(id)
    }

    /// The evaluation, which must exist.
    pub async fn evaluation(&self, id: EvaluationId) -> Result<Evaluation, EngineError> {
        Ok(self.storage().read(async move |conn| evaluations::find(conn, id).await).await?)
    }

    /// A project's evaluations, newest first, and how many there are.
    pub async fn evaluations(&self, project: ProjectId, limit: i64, offset: i64) -> Result<(Vec<Evaluation>, i64), EngineError> {
        Ok(self.storage().read(async move |conn| evaluations::page(conn, project, limit, offset).await).await?)
    }

    /// What there is to say of an evaluation, oldest first.
    pub async fn evaluation_messages(&self, id: EvaluationId) -> Result<Vec<EvaluationMessage>, EngineError> {
        Ok(self.storage().read(async move |conn| evaluations::messages(conn, id).await).await?)
    }

    /// A page of an evaluation's builds.
    pub async fn evaluation_builds(
        &self,
        id: EvaluationId,
        limit: i64,
        offset: i64,
        status: Option<BuildStatus>,
    ) -> Result<BuildPage, EngineError> {
        let (builds, total) =
            self.storage().read(async move |conn| evaluations::builds(conn, id, limit, offset, status).await).await?;
        Ok(BuildPage { builds, total })
    }

    /// The entry points of an evaluation with their builds.
    pub async fn entry_points(&self, id: EvaluationId) -> Result<Vec<EntryPointView>, EngineError> {
        Ok(self.storage().read(async move |conn| evaluations::entry_points(conn, id).await).await?)
    }

    /// Ends an evaluation and its running builds, except those that another evaluation needs. Nothing happens to one that has
    /// ended.
    pub async fn abort_evaluation(&self, id: EvaluationId) {
        self.end(id, StopRunning::Yes).await;
    }

    async fn end(&self, evaluation: EvaluationId, stop: StopRunning) {
        self.core().send(Event::AbortEvaluation { evaluation, stop_running: stop == StopRunning::Yes }).await;
        self.changes().announce(Change::Evaluation(evaluation));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopRunning {
    Yes,
    No,
}
