//! Builds as people look at them.

mod why;

use gradient_domain::{BuildId, BuildStatus, BuildWait, EvaluationId, OrganizationId};
use gradient_storage::{
    Conn,
    attempts::{self, Attempt},
    builds::{self, BuildView, Graph, GraphNode},
    evaluations,
};

pub use why::Explanation;

use crate::{Engine, EngineError};

/// How many bytes of a failed build's log are shown with the failure.
pub const LOG_TAIL_BYTES: usize = 2048;

/// A build with all there is to say of it.
#[derive(Debug)]
pub struct BuildDetails {
    /// The build with its derivation and outputs.
    pub build: BuildView,
    /// The newest evaluation of its organization that needs it.
    pub evaluation: Option<EvaluationId>,
    /// Whether it failed before that evaluation asked for it, which then took the failure as it was.
    pub cached_failure: bool,
    /// The end of its log, when it failed.
    pub log_tail: Option<Vec<u8>>,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Why it does not run, when it could.
    pub waiting: Option<BuildWait>,
}

impl Engine {
    /// Which organization a build belongs to.
    pub async fn build_organization(&self, build: BuildId) -> Result<Option<OrganizationId>, EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| builds::organization(conn, build).await).await?)
    }

    /// The build, which must exist.
    pub async fn build(&self, id: BuildId) -> Result<BuildDetails, EngineError> {
        let (build, newest, attempts) = self
            .storage()
            .read(async move |conn: &mut Conn| {
                let build = builds::view(conn, id).await?;
                let newest = match builds::newest_evaluation(conn, id).await? {
                    Some(evaluation) => evaluations::lookup(conn, evaluation).await?,
                    None => None,
                };
                Ok((build, newest, attempts::list(conn, id).await?))
            })
            .await?;
        let waiting = match build.status {
            BuildStatus::Queued => self.core().explain_build(id).await,
            _ => None,
        };
        let log_tail = match (build.failure_kind, attempts.last()) {
            (Some(_), Some(last)) => Some(self.log_tail(last).await?),
            _ => None,
        };
        let failed_at = build.finished_at.filter(|_| build.failure_kind.is_some());
        let cached_failure = failed_at.zip(newest.as_ref()).is_some_and(|(failed, newest)| failed < newest.created_at);
        Ok(BuildDetails { build, evaluation: newest.map(|newest| newest.id), cached_failure, log_tail, attempts, waiting })
    }

    async fn log_tail(&self, attempt: &Attempt) -> Result<Vec<u8>, EngineError> {
        // The whole length first: while the log is being archived, the attempt does not say it yet.
        let total = self.attempt_log(attempt, 0, 0).await?.total;
        let tail = u64::try_from(LOG_TAIL_BYTES).unwrap_or(u64::MAX);
        Ok(self.attempt_log(attempt, total.saturating_sub(tail), tail).await?.bytes)
    }

    /// What a build is made from, breadth first, at most `limit` nodes.
    pub async fn build_graph(&self, root: BuildId, limit: usize) -> Result<Graph, EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| builds::graph(conn, root, limit).await).await?)
    }

    /// What a build needs directly.
    pub async fn build_dependencies(&self, id: BuildId) -> Result<Vec<GraphNode>, EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| builds::dependencies(conn, id).await).await?)
    }
}
