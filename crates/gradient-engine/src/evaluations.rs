//! Evaluations as people ask for them: start, look at, end.

use gradient_domain::{BuildStatus, CommitId, Concurrency, Epoch, EvaluationId, EvaluationStatus, Moment, ProjectId, UserId};
use gradient_forge::HeadCommit;
use gradient_scheduler::{Event, NewEvaluation as Added, Stage};
use gradient_storage::{
    Conn,
    commits::{self, Commit},
    evaluations::{self, BuildSummary, EntryPointView, Evaluation, EvaluationMessage, NewEvaluation},
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

/// The evaluations of the same project around one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbours {
    /// The one before.
    pub previous: Option<EvaluationId>,
    /// The one after.
    pub next: Option<EvaluationId>,
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
        self.start_evaluation(project, head, request.triggered_by).await
    }

    /// Starts an evaluation of a commit that was found; `Conflict` when one runs and the project wants no second.
    pub(crate) async fn start_evaluation(
        &self,
        project: &Project,
        head: HeadCommit,
        triggered_by: Option<UserId>,
    ) -> Result<EvaluationId, EngineError> {
        let project_id = project.id;
        let running =
            self.storage().read(async move |conn: &mut Conn| evaluations::unfinished_of_project(conn, project_id).await).await?;
        if project.concurrency == Concurrency::Skip && !running.is_empty() {
            return Err(EngineError::Conflict(format!("an evaluation of project `{}` is still running", project.name)));
        }

        let (id, now) = (EvaluationId::new(), Moment::now());
        let (organization, priority) = (project.organization, project.priority);
        let row = NewEvaluation {
            id,
            organization,
            project: Some(project.id),
            repository: project.repository.to_string(),
            wildcard: project.wildcard.to_string(),
            priority,
            publish: project.publish,
            allow_ifd: project.allow_ifd,
            triggered_by,
            created_at: now,
        };
        let commit = Commit {
            id: CommitId::new(),
            organization,
            repository: row.repository.clone(),
            hash: head.hash,
            message: head.message,
            author_name: Some(head.author_name).filter(|name| !name.is_empty()),
            created_at: now,
        };
        self.storage()
            .transaction(async move |conn: &mut Conn| {
                let commit = commits::claim(conn, &commit).await?;
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
        Ok(self.storage().read(async move |conn: &mut Conn| evaluations::find(conn, id).await).await?)
    }

    /// The evaluation, when there is one.
    pub async fn lookup_evaluation(&self, id: EvaluationId) -> Result<Option<Evaluation>, EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| evaluations::lookup(conn, id).await).await?)
    }

    /// The evaluation with this id when it is the project's; without an id, the project's newest.
    pub async fn evaluation_of_project(
        &self,
        project: ProjectId,
        id: Option<EvaluationId>,
    ) -> Result<Option<EvaluationId>, EngineError> {
        let find = async move |conn: &mut Conn| match id {
            Some(id) => evaluations::lookup(conn, id).await,
            None => evaluations::last(conn, project).await,
        };
        let found = self.storage().read(find).await?;
        match (found.filter(|evaluation| evaluation.project == Some(project)), id) {
            (Some(evaluation), _) => Ok(Some(evaluation.id)),
            (None, None) => Ok(None),
            (None, Some(id)) => Err(EngineError::NotFound { what: "evaluation", name: id.to_string() }),
        }
    }

    /// The project's evaluations before and after this one.
    pub async fn neighbours(&self, evaluation: &Evaluation) -> Result<Neighbours, EngineError> {
        let id = evaluation.id;
        let next = self.storage().read(async move |conn: &mut Conn| evaluations::next(conn, id).await).await?;
        Ok(Neighbours { previous: evaluation.previous, next })
    }

    /// A project's evaluations, newest first, and how many there are.
    pub async fn evaluations(&self, project: ProjectId, limit: i64, offset: i64) -> Result<(Vec<Evaluation>, i64), EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| evaluations::page(conn, project, limit, offset).await).await?)
    }

    /// What there is to say of an evaluation, oldest first.
    pub async fn evaluation_messages(&self, id: EvaluationId) -> Result<Vec<EvaluationMessage>, EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| evaluations::messages(conn, id).await).await?)
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
            self.storage().read(async move |conn: &mut Conn| evaluations::builds(conn, id, limit, offset, status).await).await?;
        Ok(BuildPage { builds, total })
    }

    /// The entry points of an evaluation with their builds.
    pub async fn entry_points(&self, id: EvaluationId) -> Result<Vec<EntryPointView>, EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| evaluations::entry_points(conn, id).await).await?)
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
