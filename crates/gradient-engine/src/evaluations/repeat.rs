//! Evaluations that find what an earlier one found, without evaluating: of the same sources, with the same entry points.

use gradient_domain::{BuildId, Epoch, EvaluationStatus};
use gradient_scheduler::{BuildState, Event, NewBuild, NewEvaluation as Added, Stage};
use gradient_storage::{
    Conn, StorageError,
    builds::{self, Renewal, RestoredBuild},
    evaluations::{self, Evaluation, NewEntryPoint, NewEvaluation, NewMessage, SourceInfo},
};

use super::Replaced;
use crate::{Engine, EngineError, durations::Durations, publish};

/// A stored evaluation that the scheduler does not know yet.
pub(crate) struct Repeated {
    added: Added,
    builds: Vec<RestoredBuild>,
    entry_points: Vec<BuildId>,
    had_errors: bool,
}

impl Repeated {
    /// Publishes what is there already, and begins with the rest. What the evaluations that it replaces have begun and it needs as
    /// well goes on.
    pub(crate) async fn begin(self, engine: &Engine, replaced: Replaced) -> Result<(), EngineError> {
        let Self { added, builds, entry_points, had_errors } = self;
        let (evaluation, organization) = (added.evaluation, added.organization);
        let builds = builds.into_iter().map(|row| node(row, engine.durations())).collect();
        publish::claim_ready_entry_points(engine, evaluation, organization, &entry_points).await?;
        let mut events = vec![
            Event::EvaluationAdded(added),
            Event::BuildsAdded { evaluation, builds },
            Event::EntryPointsAdded { evaluation, builds: entry_points },
            Event::EvaluationSealed { evaluation, had_errors },
        ];
        events.extend(replaced.events());
        engine.core().settle(events).await?;
        replaced.announce(engine);
        Ok(())
    }
}

/// Stores a new evaluation as if it had just found what the earlier one did. To be called with builds
/// [locked](builds::lock).
pub(crate) async fn repeat(
    conn: &mut Conn,
    row: NewEvaluation,
    earlier: &Evaluation,
    source: &SourceInfo,
    renewal: Renewal,
) -> Result<Repeated, StorageError> {
    let (id, organization, priority, now) = (row.id, row.organization, row.priority, row.created_at);
    evaluations::insert(conn, row, earlier.commit).await?;
    evaluations::set_source(conn, id, Epoch::NONE, source, now).await?;

    let renewed = builds::renew(conn, organization, earlier.id, renewal, now).await?;
    let needed: Vec<_> = renewed.values().copied().collect();
    builds::link(conn, id, &needed, now).await?;
    let entry_points = evaluations::attributes(conn, earlier.id)
        .await?
        .into_iter()
        .map(|point| NewEntryPoint { build: point.build.and_then(|build| renewed.get(&build).copied()), ..point });
    evaluations::insert_entry_points(conn, id, entry_points.collect(), now).await?;
    let messages = evaluations::messages(conn, earlier.id).await?.into_iter().map(|message| NewMessage {
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
    Ok(Repeated { added, builds, entry_points: evaluations::entry_point_builds(conn, id).await?, had_errors })
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
