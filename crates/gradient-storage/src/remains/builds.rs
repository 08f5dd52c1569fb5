use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, DerivationId, Epoch, Moment};

use crate::{
    Conn, StorageError,
    conn::{insert_rows, query},
    counters,
    schema::{attempts, builds, discarded_logs, entry_points, evaluation_builds, log_chunks},
};

/// Builds that ended before a time and that no evaluation needs. One whose log is not archived yet is none.
macro_rules! unneeded {
    ($ended_before:expr) => {
        builds::table
            .filter(builds::finished_at.lt(Some($ended_before)))
            .filter(not(exists(evaluation_builds::table.filter(evaluation_builds::build.eq(builds::id)))))
            .filter(not(exists(entry_points::table.filter(entry_points::build.eq(builds::id.nullable())))))
            .filter(not(exists(log_chunks::table.filter(log_chunks::build.eq(builds::id)))))
    };
}

/// Builds that ended before a time and that no evaluation needs, by id.
pub async fn unneeded_builds(
    conn: &mut Conn,
    ended_before: Moment,
    after: Option<BuildId>,
    limit: i64,
) -> Result<Vec<BuildId>, StorageError> {
    Ok(query!(conn, |c| {
        let mut found = unneeded!(ended_before).select(builds::id).order(builds::id).limit(limit).into_boxed::<DB>();
        if let Some(after) = after {
            found = found.filter(builds::id.gt(after));
        }
        found.load(c).await?
    }))
}

/// Removes those of the builds that are still not needed, with their attempts and what was staged for them, and puts their logs on
/// the list of what the store has to lose. The derivations that they were of.
pub async fn delete_builds(conn: &mut Conn, ids: &[BuildId], ended_before: Moment) -> Result<Vec<DerivationId>, StorageError> {
    counters::lock(conn).await?;
    let gone: Vec<(BuildId, DerivationId)> = query!(&mut *conn, |c| {
        let still = unneeded!(ended_before).filter(builds::id.eq_any(ids));
        still.select((builds::id, builds::derivation)).load(c).await?
    });
    let ids: Vec<BuildId> = gone.iter().map(|(build, _)| *build).collect();
    let logs: Vec<(BuildId, Epoch)> = query!(&mut *conn, |c| {
        attempts::table.filter(attempts::build.eq_any(&ids)).select((attempts::build, attempts::epoch)).load(c).await?
    });
    let rows = logs.into_iter().map(|(build, epoch)| (discarded_logs::build.eq(build), discarded_logs::epoch.eq(epoch)));
    insert_rows!(&mut *conn, discarded_logs::table, 2, rows, or ignore);
    query!(&mut *conn, |c| diesel::delete(attempts::table.filter(attempts::build.eq_any(&ids))).execute(c).await?);
    query!(conn, |c| diesel::delete(builds::table.filter(builds::id.eq_any(&ids))).execute(c).await?);
    Ok(gone.into_iter().map(|(_, derivation)| derivation).collect())
}

/// Logs that the store has to lose.
pub async fn discarded_logs(conn: &mut Conn, limit: i64) -> Result<Vec<(BuildId, Epoch)>, StorageError> {
    Ok(query!(conn, |c| discarded_logs::table.limit(limit).load(c).await?))
}

/// The store has lost a log.
pub async fn forget_discarded_log(conn: &mut Conn, build: BuildId, epoch: Epoch) -> Result<(), StorageError> {
    query!(conn, |c| diesel::delete(discarded_logs::table.find((build, epoch))).execute(c).await?);
    Ok(())
}
