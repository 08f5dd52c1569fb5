use std::collections::{BTreeSet, HashSet};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, EvaluationId, Moment};

use super::statuses;
use crate::{
    Conn, StorageError,
    conn::{KEYS_PER_QUERY, insert_rows, query},
    counters::{self, Delta},
    schema::{evaluation_builds, evaluations},
};

/// Notes that an evaluation needs these builds, and counts them. Those that it needs already are not counted twice; those that do
/// not exist are left out. To be called in a transaction.
pub async fn link(conn: &mut Conn, evaluation: EvaluationId, builds: &[BuildId], now: Moment) -> Result<(), StorageError> {
    counters::lock(conn).await?;
    let wanted: BTreeSet<BuildId> = builds.iter().copied().collect();
    let wanted: Vec<BuildId> = wanted.into_iter().collect();
    let mut delta = Delta::default();
    let mut rows = Vec::new();
    for chunk in wanted.chunks(KEYS_PER_QUERY) {
        let linked: HashSet<BuildId> = query!(&mut *conn, |c| {
            let links = evaluation_builds::table.filter(evaluation_builds::evaluation.eq(evaluation));
            let links = links.filter(evaluation_builds::build.eq_any(chunk)).select(evaluation_builds::build);
            links.load(c).await?.into_iter().collect()
        });
        let fresh: Vec<BuildId> = chunk.iter().copied().filter(|build| !linked.contains(build)).collect();
        for (build, status) in statuses(conn, &fresh).await? {
            delta.add_build(status, 1);
            rows.push((
                evaluation_builds::evaluation.eq(evaluation),
                evaluation_builds::build.eq(build),
                evaluation_builds::status.eq(status),
            ));
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    insert_rows!(&mut *conn, evaluation_builds::table, 3, rows);
    counters::adjust(conn, evaluation, delta).await?;
    query!(conn, |c| {
        diesel::update(evaluations::table.find(evaluation)).set(evaluations::updated_at.eq(now)).execute(c).await?
    });
    Ok(())
}
