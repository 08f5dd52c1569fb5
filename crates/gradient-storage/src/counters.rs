//! The stored counts of an evaluation's builds and entry points. They are only ever adjusted, in the transaction of what they
//! count; counting 30,000 builds for every page would be too slow.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, EvaluationId};

use crate::{
    Conn, StorageError,
    conn::{KEYS_PER_QUERY, query},
    schema::{entry_points, evaluation_builds, evaluation_counters as counters},
};

/// What one transaction changes in the counts of one evaluation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) builds: [i32; 7],
    pub(crate) entry_points: i32,
    pub(crate) entry_points_completed: i32,
    pub(crate) entry_points_failed: i32,
}

impl Delta {
    pub(crate) fn add_build(&mut self, status: BuildStatus, count: i32) {
        let place = match status {
            BuildStatus::Queued => 0,
            BuildStatus::Building => 1,
            BuildStatus::Completed => 2,
            BuildStatus::Substituted => 3,
            BuildStatus::Failed => 4,
            BuildStatus::Aborted => 5,
            BuildStatus::DependencyFailed => 6,
        };
        self.builds[place] += count;
    }

    /// Counts entry points whose build has this status now, and had none that is final before.
    pub(crate) fn add_ended_entry_points(&mut self, status: BuildStatus, count: i32) {
        if status.is_success() {
            self.entry_points_completed += count;
        } else if status.is_final() {
            self.entry_points_failed += count;
        }
    }
}

/// Keeps all others from changing builds, their links to evaluations and the counts until the transaction ends. Those rows are
/// locked in no fixed order, so that two transactions could wait for each other. On SQLite the writer is alone anyway.
pub(crate) async fn lock(conn: &mut Conn) -> Result<(), StorageError> {
    query!(
        conn,
        postgres | c | diesel::sql_query("SELECT pg_advisory_xact_lock(7809353297154)").execute(c).await.map(drop)?,
        sqlite | _c | (),
    );
    Ok(())
}

/// Adjusts the counts of one evaluation.
pub(crate) async fn adjust(conn: &mut Conn, evaluation: EvaluationId, delta: Delta) -> Result<(), StorageError> {
    if delta == Delta::default() {
        return Ok(());
    }
    let [queued, building, completed, substituted, failed, aborted, dependency_failed] = delta.builds;
    query!(conn, |c| {
        diesel::update(counters::table.find(evaluation))
            .set((
                counters::builds_queued.eq(counters::builds_queued + queued),
                counters::builds_building.eq(counters::builds_building + building),
                counters::builds_completed.eq(counters::builds_completed + completed),
                counters::builds_substituted.eq(counters::builds_substituted + substituted),
                counters::builds_failed.eq(counters::builds_failed + failed),
                counters::builds_aborted.eq(counters::builds_aborted + aborted),
                counters::builds_dependency_failed.eq(counters::builds_dependency_failed + dependency_failed),
                counters::entry_points_total.eq(counters::entry_points_total + delta.entry_points),
                counters::entry_points_completed.eq(counters::entry_points_completed + delta.entry_points_completed),
                counters::entry_points_failed.eq(counters::entry_points_failed + delta.entry_points_failed),
            ))
            .execute(c)
            .await?
    });
    Ok(())
}

/// Carries the moves of builds, each with the status that it had, on to the evaluations that need them.
pub(crate) async fn builds_moved(conn: &mut Conn, moved: &[(BuildId, BuildStatus)], to: BuildStatus) -> Result<(), StorageError> {
    let mut deltas: BTreeMap<EvaluationId, Delta> = BTreeMap::new();
    for chunk in moved.chunks(KEYS_PER_QUERY) {
        let before: HashMap<BuildId, BuildStatus> = chunk.iter().copied().collect();
        let ids: Vec<BuildId> = chunk.iter().map(|(build, _)| *build).collect();
        let needed_by: Vec<(EvaluationId, BuildId)> = query!(&mut *conn, |c| {
            let links = evaluation_builds::table.filter(evaluation_builds::build.eq_any(&ids));
            links.select((evaluation_builds::evaluation, evaluation_builds::build)).load(c).await?
        });
        if needed_by.is_empty() {
            continue;
        }
        query!(&mut *conn, |c| {
            let links = evaluation_builds::table.filter(evaluation_builds::build.eq_any(&ids));
            diesel::update(links).set(evaluation_builds::status.eq(to)).execute(c).await?
        });
        for (evaluation, build) in needed_by {
            let delta = deltas.entry(evaluation).or_default();
            if let Some(&from) = before.get(&build) {
                delta.add_build(from, -1);
                delta.add_build(to, 1);
            }
        }
        if to.is_final() {
            let roots: Vec<EvaluationId> = query!(&mut *conn, |c| {
                let ids = ids.iter().copied().map(Some);
                let roots = entry_points::table.filter(entry_points::build.eq_any(ids));
                roots.select(entry_points::evaluation).load(c).await?
            });
            for evaluation in roots {
                deltas.entry(evaluation).or_default().add_ended_entry_points(to, 1);
            }
        }
    }
    for (evaluation, delta) in deltas {
        adjust(conn, evaluation, delta).await?;
    }
    Ok(())
}

/// Carries the same move of many builds, which end with it, on to the evaluations that need them.
pub(crate) async fn builds_ended(
    conn: &mut Conn,
    builds: &[BuildId],
    from: BuildStatus,
    to: BuildStatus,
) -> Result<(), StorageError> {
    query!(&mut *conn, |c| {
        let links = evaluation_builds::table.filter(evaluation_builds::build.eq_any(builds));
        diesel::update(links).set(evaluation_builds::status.eq(to)).execute(c).await?
    });
    let needed_by: Vec<(EvaluationId, i64)> = query!(&mut *conn, |c| {
        let links = evaluation_builds::table.filter(evaluation_builds::build.eq_any(builds));
        let counted = links.group_by(evaluation_builds::evaluation);
        counted.select((evaluation_builds::evaluation, diesel::dsl::count_star())).load(c).await?
    });
    let roots: Vec<(EvaluationId, i64)> = query!(&mut *conn, |c| {
        let roots = entry_points::table.filter(entry_points::build.eq_any(builds));
        roots.group_by(entry_points::evaluation).select((entry_points::evaluation, diesel::dsl::count_star())).load(c).await?
    });
    let mut deltas: BTreeMap<EvaluationId, Delta> = BTreeMap::new();
    for (evaluation, count) in needed_by {
        let (delta, count) = (deltas.entry(evaluation).or_default(), i32::try_from(count).unwrap_or(i32::MAX));
        delta.add_build(from, -count);
        delta.add_build(to, count);
    }
    for (evaluation, count) in roots {
        deltas.entry(evaluation).or_default().add_ended_entry_points(to, i32::try_from(count).unwrap_or(i32::MAX));
    }
    for (evaluation, delta) in deltas {
        adjust(conn, evaluation, delta).await?;
    }
    Ok(())
}
