//! The scheduler's state, from the database: what unfinished evaluations reach.

use std::collections::HashSet;

use gradient_domain::{BuildId, BuildStatus, Epoch, EvaluationId, Job};
use gradient_scheduler::{BuildState, Event, NewBuild, NewEvaluation, Stage};
use gradient_storage::{
    Conn, attempts,
    builds::{self, RestoredBuild},
    derivations,
    evaluations::{self, Evaluation},
    organizations, subscriptions,
};

use crate::{Engine, EngineError, leases::Lease, logs};

/// What the scheduler has to be told before anything else.
pub(super) async fn events(engine: &Engine) -> Result<Vec<Event>, EngineError> {
    let unfinished = engine.storage().read(async |conn: &mut Conn| evaluations::unfinished(conn).await).await?;
    let mut events = organizations(engine).await?;
    let mut needed = HashSet::new();
    for evaluation in unfinished {
        restore(engine, evaluation, &mut events, &mut needed).await?;
    }
    events.push(unneeded(engine, needed).await?);
    archive_logs(engine).await?;
    Ok(events)
}

/// What holds for each organization, whether it has unfinished work or not.
async fn organizations(engine: &Engine) -> Result<Vec<Event>, EngineError> {
    let list = async |conn: &mut Conn| {
        let mut told = Vec::new();
        for organization in organizations::list(conn).await? {
            let caches = subscriptions::writable_caches(conn, organization.id).await?;
            told.push((organization.id, organization.share, !caches.is_empty()));
        }
        Ok(told)
    };
    let mut events = Vec::new();
    for (organization, share, writable) in engine.storage().read(list).await? {
        events.push(Event::CachesChanged { organization, writable });
        if let Ok(weight) = u32::try_from(share) {
            events.push(Event::ShareChanged { organization, weight });
        }
    }
    Ok(events)
}

/// What still ran when the last evaluation that needed it ended. Whoever has it may finish it.
async fn unneeded(engine: &Engine, needed: HashSet<BuildId>) -> Result<Event, EngineError> {
    let list = async move |conn: &mut Conn| {
        let mut rows = Vec::new();
        for id in builds::unfinished(conn).await? {
            if needed.contains(&id) {
                continue;
            }
            let build = builds::find(conn, id).await?;
            let derivation = derivations::find(conn, build.derivation).await?;
            rows.push(RestoredBuild {
                build: build.id,
                organization: build.organization,
                name: derivation.name,
                fixed: derivation.fixed,
                system: derivation.system,
                features: derivation.features,
                dependencies: Vec::new(),
                status: build.status,
                epoch: build.epoch,
                worker: build.worker,
            });
        }
        Ok(rows)
    };
    let rows = engine.storage().read(list).await?;
    let builds = rows.into_iter().map(|row| node(engine, row)).collect();
    Ok(Event::BuildsAdded { evaluation: EvaluationId::new(), builds })
}

async fn restore(
    engine: &Engine,
    evaluation: Evaluation,
    events: &mut Vec<Event>,
    needed: &mut HashSet<BuildId>,
) -> Result<(), EngineError> {
    let id = evaluation.id;
    let stage = match (&evaluation.source, evaluation.sealed) {
        (None, _) => Stage::Fetch,
        (Some(_), false) => Stage::Evaluate,
        (Some(_), true) => Stage::Build,
    };
    let job = match stage {
        Stage::Fetch => Some(Job::Fetch(id)),
        Stage::Evaluate => Some(Job::Evaluate(id)),
        Stage::Build => None,
    };
    let lease = evaluation.worker.filter(|_| job.is_some());
    if let (Some(job), Some(worker)) = (job, lease) {
        engine.leases().grant(job, Lease { epoch: evaluation.epoch, worker, organization: evaluation.organization });
    }
    events.push(Event::EvaluationAdded(NewEvaluation {
        evaluation: id,
        organization: evaluation.organization,
        priority: evaluation.priority,
        status: evaluation.status,
        stage,
        job_epoch: if job.is_some() { evaluation.epoch } else { Epoch::NONE },
        lease,
    }));
    // Each takes seconds when there are hundreds of thousands of builds, and nothing changes yet.
    let (nodes, edges) = tokio::try_join!(
        engine.storage().read(async move |conn: &mut Conn| builds::nodes_of(conn, id).await),
        engine.storage().read(async move |conn: &mut Conn| builds::edges_of(conn, id).await),
    )?;
    let (rows, entry_points) = engine
        .storage()
        .read(async move |conn: &mut Conn| {
            let rows = builds::with_edges(conn, nodes, edges).await?;
            Ok((rows, evaluations::entry_point_builds(conn, id).await?))
        })
        .await?;
    needed.extend(rows.iter().map(|row| row.build));
    let builds = rows.into_iter().map(|row| node(engine, row)).collect();
    events.push(Event::BuildsAdded { evaluation: id, builds });
    events.push(Event::EntryPointsAdded { evaluation: id, builds: entry_points });
    if evaluation.sealed {
        let had_errors = evaluation.error_count > 0;
        events.push(Event::EvaluationSealed { evaluation: id, had_errors });
    }
    Ok(())
}

fn node(engine: &Engine, row: RestoredBuild) -> NewBuild {
    let state = match (row.status, row.worker) {
        (BuildStatus::Building, Some(worker)) => {
            let lease = Lease { epoch: row.epoch, worker, organization: row.organization };
            engine.leases().grant(Job::Build(row.build), lease);
            BuildState::Leased { epoch: row.epoch, worker }
        }
        (BuildStatus::Queued | BuildStatus::Building, _) => BuildState::Queued { epoch: row.epoch },
        (ended, _) => BuildState::Ended(ended),
    };
    let expected = engine.durations().expect(&row.name, &row.system, row.fixed);
    NewBuild {
        build: row.build,
        organization: row.organization,
        system: row.system,
        features: row.features,
        dependencies: row.dependencies,
        expected,
        state,
    }
}

/// Logs of attempts that ended while nobody could archive them.
async fn archive_logs(engine: &Engine) -> Result<(), EngineError> {
    let pending: Vec<(BuildId, _)> = engine.storage().read(async |conn: &mut Conn| attempts::unarchived(conn).await).await?;
    for (build, epoch) in pending {
        logs::finish_later(engine, build, epoch);
    }
    Ok(())
}
