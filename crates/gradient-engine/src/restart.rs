//! Building again what failed, without evaluating again.
//!
//! History does not change: a restart is a new evaluation of the same sources with the same entry points, and what failed gets new
//! builds in it.

use gradient_domain::{EvaluationId, Moment};
use gradient_storage::{
    Conn,
    builds::{self, Renewal},
    evaluations::{self, Evaluation, NewEvaluation, SourceInfo},
    projects::Project,
};

use crate::{
    Engine, EngineError, EvaluationRequest,
    evaluations::{is_there, lock, repeat, replace_running},
};

impl Engine {
    /// Builds again what failed, was aborted or failed because of others in the project's newest evaluation, or in its newest one
    /// of the commit. `Conflict` when there is no such evaluation, when it has not ended or ended before all was known that it
    /// needs, when nothing of it failed, and when one runs and the project wants no second.
    pub async fn restart_failed(&self, project: &Project, request: EvaluationRequest) -> Result<EvaluationId, EngineError> {
        let known = self.still_known(project, request.commit.clone()).await?;
        let wanted = project.clone();
        let restart = async move |conn: &mut Conn| {
            let Some(wanted) = lock(conn, &wanted).await? else {
                return Err(EngineError::NotFound { what: "project", name: wanted.name.to_string() });
            };
            builds::lock(conn).await?;
            let (failed, source) = restartable(conn, &wanted, request.commit.as_deref()).await?;
            if known != Some(failed.id) {
                let message = format!(
                    "upstreams do not have all any more that evaluation {} found there; evaluate again instead",
                    failed.id
                );
                return Err(EngineError::Conflict(message));
            }
            let now = Moment::now();
            let replaced = replace_running(conn, &wanted, now).await?;
            let id = EvaluationId::new();
            let row = NewEvaluation {
                id,
                organization: failed.organization,
                project: Some(wanted.id),
                repository: failed.repository.clone(),
                wildcard: failed.wildcard.clone(),
                priority: wanted.priority,
                publish: failed.publish,
                allow_ifd: failed.allow_ifd,
                triggered_by: request.triggered_by,
                created_at: now,
            };
            Ok((id, repeat(conn, row, &failed, &source, Renewal::Failed).await?, replaced))
        };
        // Derivations are not removed while something new comes to refer to them.
        let looking = self.ingesting().read().await;
        let (id, restarted, replaced) = self.storage().try_transaction(restart).await?;
        drop(looking);
        restarted.begin(self, replaced).await?;
        Ok(id)
    }

    /// The evaluation that would be restarted, when upstreams still have what it needs of them.
    async fn still_known(&self, project: &Project, commit: Option<String>) -> Result<Option<EvaluationId>, EngineError> {
        let (id, organization) = (project.id, project.organization);
        let look = async move |conn: &mut Conn| match commit {
            Some(commit) => evaluations::last_of_commit(conn, id, &commit).await,
            None => evaluations::last(conn, id).await,
        };
        let Some(newest) = self.storage().read(look).await? else { return Ok(None) };
        Ok(is_there(self, organization, newest.id).await?.then_some(newest.id))
    }
}

/// The evaluation that is to be restarted, with its source.
async fn restartable(conn: &mut Conn, project: &Project, commit: Option<&str>) -> Result<(Evaluation, SourceInfo), EngineError> {
    let (found, of) = match commit {
        Some(commit) => (evaluations::last_of_commit(conn, project.id, commit).await?, format!(" of commit `{commit}`")),
        None => (evaluations::last(conn, project.id).await?, String::new()),
    };
    let conflict = |why: String| Err(EngineError::Conflict(why));
    let Some(mut evaluation) = found else {
        return conflict(format!("project `{}` has no evaluation{of} that could be restarted; evaluate it first", project.name));
    };
    let id = evaluation.id;
    if evaluation.finished_at.is_none() {
        return conflict(format!("evaluation {id} is still running; what fails in it can be restarted once it has ended"));
    }
    let source = match evaluation.source.take() {
        Some(source) if evaluation.sealed => source.0,
        _ => return conflict(format!("evaluation {id} ended before all that it needs was known; evaluate again instead")),
    };
    if !builds::any_renewable(conn, id).await? {
        return conflict(format!("nothing in evaluation {id} can be restarted: no build of it failed or was aborted"));
    }
    Ok((evaluation, source))
}
