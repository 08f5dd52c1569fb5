//! Projects that evaluate by themselves: their repositories are looked at every so often, and a new head is evaluated.

use std::{collections::HashMap, time::Duration};

use gradient_domain::Moment;
use gradient_storage::{Conn, projects};
use rand::RngExt;
use tokio::{
    task::{Id, JoinSet},
    time::{MissedTickBehavior, interval},
};

use self::schedule::{Outcome, Schedule};
use crate::{Engine, EngineError, Project};

mod schedule;

/// How often it is asked whose turn it is: the shortest interval that a project can have. A change of a project shows as soon.
const ROUND: Duration = Duration::from_secs(1);

/// Repositories that are looked at at the same time, beside those that people ask for.
const LOOKING: usize = 4;

/// Polls until the engine is told to stop.
pub(crate) fn start(engine: Engine) {
    tokio::spawn(async move {
        let stopping = engine.clone();
        tokio::select! {
            () = stopping.stopped() => {}
            () = poll(engine) => {}
        }
    });
}

async fn poll(engine: Engine) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut schedule, mut looks, mut looked_at) = (Schedule::default(), JoinSet::new(), HashMap::<Id, Project>::new());
    let mut unread = false;
    loop {
        tokio::select! {
            Some(ended) = looks.join_next_with_id() => {
                let (id, result) = match ended {
                    Ok((id, result)) => (id, result),
                    Err(panicked) => (panicked.id(), Err(EngineError::Damaged(panicked.to_string()))),
                };
                if let Some(project) = looked_at.remove(&id) {
                    end(&mut schedule, &project, result);
                }
            }
            _ = rounds.tick() => match engine.storage().read(async |conn: &mut Conn| projects::list_polled(conn).await).await {
                Ok(polled) => {
                    unread = false;
                    schedule.update(&polled);
                    let now = Moment::now();
                    let free = LOOKING.saturating_sub(looks.len());
                    for project in schedule.turns(polled, now, free) {
                        schedule.begin(project.id);
                        let look = looks.spawn(look(engine.clone(), project.clone(), now));
                        looked_at.insert(look.id(), project);
                    }
                }
                Err(error) => {
                    if !unread {
                        tracing::warn!(error = &error as &dyn std::error::Error, "cannot read which projects are polled");
                    }
                    unread = true;
                }
            },
        }
    }
}

/// Says so once when a project cannot be looked at, and once when it can again.
fn end(schedule: &mut Schedule, project: &Project, result: Result<(), EngineError>) {
    let jitter = rand::rng().random_range(0..=100);
    let outcome = schedule.end(project.id, result.as_ref().map(drop).map_err(drop), jitter);
    match (outcome, result) {
        (Outcome::Failing, Err(error)) => {
            tracing::warn!(project = %project.id, name = %project.name, error = &error as &dyn std::error::Error, "cannot poll");
        }
        (Outcome::Recovered, _) => tracing::info!(project = %project.id, name = %project.name, "polling works again"),
        _ => {}
    }
}

/// Looks at the head, and starts an evaluation when the project has none of it.
async fn look(engine: Engine, project: Project, now: Moment) -> Result<(), EngineError> {
    let id = project.id;
    engine.storage().write(async move |conn: &mut Conn| projects::set_last_check(conn, id, now).await).await?;
    let head = engine.ask_repository(&project, None).await?;
    match engine.evaluate_new_head(&project, head).await {
        Ok(Some(evaluation)) => {
            tracing::info!(project = %id, %evaluation, "evaluating a new commit");
            Ok(())
        }
        // One is still running, and the project wants no second: the next look finds the same head.
        Ok(None) | Err(EngineError::Conflict(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
