use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use gradient_domain::Moment;
use gradient_nix::NarHash;

use crate::{
    Conn, StorageError,
    conn::{insert_rows, query},
    schema::{cache_paths, discarded_nars, nars, organization_paths, pending_paths, staged_outputs, uploaded_nars},
};

/// NARs that neither an organization nor a cache nor a running build nor an upload has.
macro_rules! unneeded {
    () => {
        nars::table
            .filter(not(exists(organization_paths::table.filter(organization_paths::nar_hash.eq(nars::nar_hash)))))
            .filter(not(exists(staged_outputs::table.filter(staged_outputs::nar_hash.eq(nars::nar_hash)))))
            .filter(not(exists(cache_paths::table.filter(cache_paths::nar_hash.eq(nars::nar_hash)))))
            .filter(not(exists(uploaded_nars::table.filter(uploaded_nars::nar_hash.eq(nars::nar_hash)))))
            .filter(not(exists(pending_paths::table.filter(pending_paths::nar_hash.eq(nars::nar_hash)))))
            .select(nars::nar_hash)
    };
}

/// NARs that nobody has and that are not condemned yet, by hash.
pub async fn unneeded_nars(conn: &mut Conn, after: Option<NarHash>, limit: i64) -> Result<Vec<NarHash>, StorageError> {
    Ok(query!(conn, |c| {
        let mut found = unneeded!().filter(nars::condemned_at.is_null()).order(nars::nar_hash).limit(limit).into_boxed::<DB>();
        if let Some(after) = after {
            found = found.filter(nars::nar_hash.gt(after));
        }
        found.load(c).await?
    }))
}

/// Condemns those of the NARs that still nobody has. How many that are.
pub async fn condemn_nars(conn: &mut Conn, hashes: &[NarHash], now: Moment) -> Result<usize, StorageError> {
    lock(conn, hashes).await?;
    let condemned: Vec<NarHash> = query!(&mut *conn, |c| unneeded!().filter(nars::nar_hash.eq_any(hashes)).load(c).await?);
    Ok(query!(conn, |c| {
        let fresh = nars::table.filter(nars::nar_hash.eq_any(&condemned)).filter(nars::condemned_at.is_null());
        diesel::update(fresh).set(nars::condemned_at.eq(Some(now))).execute(c).await?
    }))
}

/// Clears the mark of the condemned NARs that somebody has again. How many that are.
pub async fn spare_nars(conn: &mut Conn, limit: i64) -> Result<usize, StorageError> {
    let needed: Vec<NarHash> = query!(&mut *conn, |c| {
        let condemned = nars::table.filter(nars::condemned_at.is_not_null());
        let held = exists(organization_paths::table.filter(organization_paths::nar_hash.eq(nars::nar_hash)))
            .or(exists(staged_outputs::table.filter(staged_outputs::nar_hash.eq(nars::nar_hash))))
            .or(exists(cache_paths::table.filter(cache_paths::nar_hash.eq(nars::nar_hash))))
            .or(exists(uploaded_nars::table.filter(uploaded_nars::nar_hash.eq(nars::nar_hash))))
            .or(exists(pending_paths::table.filter(pending_paths::nar_hash.eq(nars::nar_hash))));
        condemned.filter(held).select(nars::nar_hash).limit(limit).load(c).await?
    });
    if needed.is_empty() {
        return Ok(0);
    }
    Ok(query!(conn, |c| {
        let spared = nars::table.filter(nars::nar_hash.eq_any(&needed));
        diesel::update(spared).set(nars::condemned_at.eq(None::<Moment>)).execute(c).await?
    }))
}

/// Gives up NARs that were condemned before a time and that still nobody has, and puts them on the list of what the store has to
/// lose. How many were looked at.
pub async fn discard_nars(conn: &mut Conn, condemned_before: Moment, limit: i64) -> Result<usize, StorageError> {
    macro_rules! due {
        ($nars:expr) => {
            $nars.filter(nars::condemned_at.lt(Some(condemned_before)))
        };
    }
    let due: Vec<NarHash> = query!(&mut *conn, |c| { due!(unneeded!()).order(nars::condemned_at).limit(limit).load(c).await? });
    lock(conn, &due).await?;
    let gone: Vec<NarHash> = query!(&mut *conn, |c| due!(unneeded!()).filter(nars::nar_hash.eq_any(&due)).load(c).await?);
    query!(&mut *conn, |c| diesel::delete(nars::table.filter(nars::nar_hash.eq_any(&gone))).execute(c).await?);
    let rows = gone.into_iter().map(|hash| discarded_nars::nar_hash.eq(hash));
    insert_rows!(&mut *conn, discarded_nars::table, 1, rows, or ignore);
    Ok(due.len())
}

/// Whoever claims one of the NARs waits until the transaction ends, and whoever has claimed one is seen by the next statement.
async fn lock(conn: &mut Conn, hashes: &[NarHash]) -> Result<(), StorageError> {
    query!(
        conn,
        postgres | c | {
            let locked = nars::table.filter(nars::nar_hash.eq_any(hashes)).order(nars::nar_hash).select(nars::nar_hash);
            locked.for_update().load::<NarHash>(c).await.map(drop)?;
        },
        sqlite | _c | (),
    );
    Ok(())
}

/// NARs that the store has to lose, unless they have come again.
pub async fn discarded_nars(conn: &mut Conn, limit: i64) -> Result<Vec<NarHash>, StorageError> {
    Ok(query!(conn, |c| discarded_nars::table.select(discarded_nars::nar_hash).limit(limit).load(c).await?))
}

/// The store has lost a NAR, or keeps it after all.
pub async fn forget_discarded_nar(conn: &mut Conn, hash: NarHash) -> Result<(), StorageError> {
    query!(conn, |c| diesel::delete(discarded_nars::table.find(hash)).execute(c).await?);
    Ok(())
}
