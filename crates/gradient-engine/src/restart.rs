//! Building again what failed, without evaluating again.
//!
//! History does not change: a restart is a new evaluation of the same sources with the same entry points, and what failed gets new
//! builds in it.

use gradient_domain::{EntryPointId, Epoch, EvaluationId, EvaluationStatus, Moment};
use gradient_scheduler::{BuildState, Event, NewBuild, NewEvaluation as Added, Stage};
use gradient_storage::{
    Conn, StorageError,
    builds::{self, RestoredBuild},
    evaluations::{self, Evaluation, NewEntryPoint, NewEvaluation, NewMessage, SourceInfo},
    projects::Project,
};

use crate::{
    Engine, EngineError, EvaluationRequest,
    durations::Durations,
    evaluations::{lock, replace_running},
    publish,
};

impl Engine {
    /// Builds again what failed, was aborted or failed because of others in the project's newest evaluation, or in its newest one
    /// of the commit. `Conflict` when there is no such evaluation, when it has not ended or ended before all was known that it
    /// needs, when nothing of it failed, and when one runs and the project wants no second.
    pub async fn restart_failed(&self, project: &Project, request: EvaluationRequest) -> Result<EvaluationId, EngineError> {
        let wanted = project.clone();
        let restart = async move |conn: &mut Conn| {
            let Some(wanted) = lock(conn, &wanted).await? else {
                return Err(EngineError::NotFound { what: "project", name: wanted.name.to_string() });
            };
            builds::lock(conn).await?;
            let (failed, source) = restartable(conn, &wanted, request.commit.as_deref()).await?;
            let now = Moment::now();
            let replaced = replace_running(conn, &wanted, now).await?;
            let row = NewEvaluation {
                id: EvaluationId::new(),
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
            Ok((insert(conn, row, &failed, &source).await?, replaced))
        };
        // Derivations are not removed while something new comes to refer to them.
        let looking = self.ingesting().read().await;
        let (restarted, replaced) = self.storage().try_transaction(restart).await?;
        drop(looking);
        let (id, organization) = (restarted.added.evaluation, restarted.added.organization);
        publish::claim_ready_entry_points(self, id, organization, &restarted.entry_points).await?;
        self.announce_replaced(replaced).await;
        self.core().settle(restarted.into_events(self.durations())).await?;
        Ok(id)
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

/// A new evaluation that the scheduler does not know yet.
struct Restarted {
    added: Added,
    builds: Vec<RestoredBuild>,
    entry_points: Vec<gradient_domain::BuildId>,
    had_errors: bool,
}

impl Restarted {
    fn into_events(self, durations: &Durations) -> Vec<Event> {
        let (evaluation, had_errors) = (self.added.evaluation, self.had_errors);
        vec![
            Event::EvaluationAdded(self.added),
            Event::BuildsAdded { evaluation, builds: self.builds.into_iter().map(|row| node(row, durations)).collect() },
            Event::EntryPointsAdded { evaluation, builds: self.entry_points },
            Event::EvaluationSealed { evaluation, had_errors },
        ]
    }
}

/// Stores the new evaluation as if it had just found what the failed one did.
async fn insert(
    conn: &mut Conn,
    row: NewEvaluation,
    failed: &Evaluation,
    source: &SourceInfo,
) -> Result<Restarted, StorageError> {
    let (id, organization, priority, now) = (row.id, row.organization, row.priority, row.created_at);
    evaluations::insert(conn, row, failed.commit).await?;
    evaluations::set_source(conn, id, Epoch::NONE, source, now).await?;

    let renewed = builds::renew(conn, organization, failed.id, now).await?;
    let needed: Vec<_> = renewed.values().copied().collect();
    builds::link(conn, id, &needed, now).await?;
    let entry_points = evaluations::entry_points(conn, failed.id).await?.into_iter().map(|point| NewEntryPoint {
        id: EntryPointId::new(),
        attribute: point.attribute,
        build: point.build.and_then(|build| renewed.get(&build.id).copied()),
        error: point.error,
    });
    evaluations::insert_entry_points(conn, id, entry_points.collect(), now).await?;
    let messages = evaluations::messages(conn, failed.id).await?.into_iter().map(|message| NewMessage {
        level: message.level,
        source: message.source,
        attribute: message.attribute,
        message: message.message,
    });
    evaluations::insert_messages(conn, id, messages.collect(), now).await?;
    let had_errors = evaluations::set_sealed(conn, id, Epoch::NONE, now).await?;

    let added = Added {
        evaluation: id,
        organization,
        priority,
        status: EvaluationStatus::Queued,
        stage: Stage::Build,
        job_epoch: Epoch::NONE,
        lease: None,
    };
    let builds = builds::of_evaluation(conn, id).await?;
    Ok(Restarted { added, builds, entry_points: evaluations::entry_point_builds(conn, id).await?, had_errors })
}

/// What is on a worker, the scheduler knows better than the database.
fn node(row: RestoredBuild, durations: &Durations) -> NewBuild {
    let expected = durations.expect(&row.name, &row.system, row.fixed);
    NewBuild {
        build: row.build,
        organization: row.organization,
        system: row.system,
        features: row.features,
        dependencies: row.dependencies,
        expected,
        state: if row.status.is_final() { BuildState::Ended(row.status) } else { BuildState::Queued { epoch: row.epoch } },
    }
}
