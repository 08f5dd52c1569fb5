use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use gradient_domain::{CommitId, DerivationId, Moment};

use crate::{
    Conn, StorageError,
    conn::query,
    counters,
    schema::{builds, commits, derivation_inputs, derivations, evaluations, organizations},
};

/// Derivations that were kept before a time, have no build, and that no other derivation needs. What is younger may be of an
/// evaluation that has not come to what needs it, but none of a deleted organization.
macro_rules! unneeded {
    ($kept_before:expr) => {
        derivations::table
            .filter(
                derivations::created_at.lt($kept_before).or(exists(
                    organizations::table
                        .filter(organizations::id.eq(derivations::organization))
                        .filter(organizations::deleted_at.is_not_null()),
                )),
            )
            .filter(not(exists(builds::table.filter(builds::derivation.eq(derivations::id)))))
            .filter(not(exists(derivation_inputs::table.filter(derivation_inputs::input.eq(derivations::id)))))
    };
}

/// Derivations that were [kept](crate::derivations::keep) before a time, have no build, and that no other derivation needs, by id.
pub async fn unneeded_derivations(
    conn: &mut Conn,
    kept_before: Moment,
    after: Option<DerivationId>,
    limit: i64,
) -> Result<Vec<DerivationId>, StorageError> {
    Ok(query!(conn, |c| {
        let mut found = unneeded!(kept_before).select(derivations::id).order(derivations::id).limit(limit).into_boxed::<DB>();
        if let Some(after) = after {
            found = found.filter(derivations::id.gt(after));
        }
        found.load(c).await?
    }))
}

/// Removes those of the derivations that are still not needed. What they needed themselves, which may be next.
pub async fn delete_derivations(
    conn: &mut Conn,
    ids: &[DerivationId],
    kept_before: Moment,
) -> Result<Vec<DerivationId>, StorageError> {
    counters::lock(conn).await?;
    let gone: Vec<DerivationId> = query!(&mut *conn, |c| {
        unneeded!(kept_before).filter(derivations::id.eq_any(ids)).select(derivations::id).load(c).await?
    });
    let inputs: Vec<DerivationId> = query!(&mut *conn, |c| {
        let links = derivation_inputs::table.filter(derivation_inputs::derivation.eq_any(&gone));
        links.select(derivation_inputs::input).distinct().load(c).await?
    });
    query!(conn, |c| diesel::delete(derivations::table.filter(derivations::id.eq_any(&gone))).execute(c).await?);
    Ok(inputs)
}

/// Commits that were seen before a time and that no evaluation is of.
macro_rules! unneeded_commits {
    ($seen_before:expr) => {
        commits::table
            .filter(commits::created_at.lt($seen_before))
            .filter(not(exists(evaluations::table.filter(evaluations::commit.eq(commits::id)))))
            .select(commits::id)
    };
}

/// Commits that were seen before a time and that no evaluation is of, by id.
pub async fn unneeded_commits(
    conn: &mut Conn,
    seen_before: Moment,
    after: Option<CommitId>,
    limit: i64,
) -> Result<Vec<CommitId>, StorageError> {
    Ok(query!(conn, |c| {
        let mut found = unneeded_commits!(seen_before).order(commits::id).limit(limit).into_boxed::<DB>();
        if let Some(after) = after {
            found = found.filter(commits::id.gt(after));
        }
        found.load(c).await?
    }))
}

/// Removes those of the commits that are still not needed.
pub async fn delete_commits(conn: &mut Conn, ids: &[CommitId], seen_before: Moment) -> Result<(), StorageError> {
    // Whoever claims one of them waits, and whoever has claimed one is seen by the next statement.
    query!(
        &mut *conn,
        postgres | c | {
            let locked = commits::table.filter(commits::id.eq_any(ids)).order(commits::id).select(commits::id);
            locked.for_update().load::<CommitId>(c).await.map(drop)?;
        },
        sqlite | _c | (),
    );
    let gone: Vec<CommitId> =
        query!(&mut *conn, |c| { unneeded_commits!(seen_before).filter(commits::id.eq_any(ids)).load(c).await? });
    query!(conn, |c| diesel::delete(commits::table.filter(commits::id.eq_any(&gone))).execute(c).await?);
    Ok(())
}
