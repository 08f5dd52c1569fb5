//! Evaluations as people ask for them: start, look at, end.

mod abort;
mod relied;
mod repeat;
mod start;

pub(crate) use abort::end_rows;
pub(crate) use relied::is_there;
pub(crate) use repeat::repeat;
pub(crate) use start::{Replaced, lock, replace_running};

use gradient_domain::{BuildStatus, EvaluationId, EvaluationStatus, ProjectId, UserId};
use gradient_scheduler::Estimate;
use gradient_storage::{
    Conn,
    evaluations::{self, BuildSummary, EntryPointView, Evaluation, EvaluationMessage},
};

use crate::{Engine, EngineError};

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

    /// How long it takes until all builds of the evaluation have ended, while it builds and something is known of that.
    pub async fn estimate(&self, evaluation: &Evaluation) -> Option<Estimate> {
        if evaluation.status != EvaluationStatus::Building {
            return None;
        }
        self.core().estimate_evaluation(evaluation.id).await
    }

    /// A project's evaluations, newest first, and how many there are.
    pub async fn evaluations(&self, project: ProjectId, limit: u32, offset: u32) -> Result<(Vec<Evaluation>, i64), EngineError> {
        Ok(self
            .storage()
            .read(async move |conn: &mut Conn| evaluations::page(conn, project, limit.into(), offset.into()).await)
            .await?)
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
}
