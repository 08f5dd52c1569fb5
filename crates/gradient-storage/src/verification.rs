//! What the database says of stored NARs, for whoever compares it with the store.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, Moment};
use gradient_nix::{NarHash, StorePathHash};

use crate::{
    Conn, StorageError,
    conn::query,
    nars::Nar,
    schema::{cache_paths, discarded_nars, nars},
};

/// How many NARs there are.
pub async fn count(conn: &mut Conn) -> Result<i64, StorageError> {
    Ok(query!(conn, |c| nars::table.count().get_result(c).await?))
}

/// NARs by hash, `after` the last one of the page before.
pub async fn page(conn: &mut Conn, after: Option<NarHash>, limit: i64) -> Result<Vec<Nar>, StorageError> {
    Ok(query!(conn, |c| {
        let mut page = nars::table.order(nars::nar_hash).limit(limit).select(Nar::as_select()).into_boxed::<DB>();
        if let Some(after) = after {
            page = page.filter(nars::nar_hash.gt(after));
        }
        page.load(c).await?
    }))
}

/// Those of the hashes that NARs of the database have, or that are on the list of what the store has still to lose.
pub async fn known(conn: &mut Conn, hashes: &[NarHash]) -> Result<Vec<NarHash>, StorageError> {
    let mut known: Vec<NarHash> =
        query!(&mut *conn, |c| { nars::table.filter(nars::nar_hash.eq_any(hashes)).select(nars::nar_hash).load(c).await? });
    let discarded: Vec<NarHash> = query!(conn, |c| {
        let some = discarded_nars::table.filter(discarded_nars::nar_hash.eq_any(hashes));
        some.select(discarded_nars::nar_hash).load(c).await?
    });
    known.extend(discarded);
    Ok(known)
}

/// Hides a NAR from everybody until it comes again, or is restored.
pub async fn quarantine(conn: &mut Conn, hash: NarHash, now: Moment) -> Result<(), StorageError> {
    query!(conn, |c| diesel::update(nars::table.find(hash)).set(nars::quarantined_at.eq(Some(now))).execute(c).await?);
    Ok(())
}

/// Gives a NAR back to those who have a claim on it: its file is good, and is this one.
pub async fn restore(conn: &mut Conn, hash: NarHash, file_hash: NarHash, file_size: i64) -> Result<(), StorageError> {
    query!(conn, |c| {
        let file = (nars::file_hash.eq(file_hash), nars::file_size.eq(file_size));
        diesel::update(nars::table.find(hash)).set((file, nars::quarantined_at.eq(None::<Moment>))).execute(c).await?
    });
    Ok(())
}

/// When the newest of the NARs was quarantined that are.
pub async fn newest_quarantine(conn: &mut Conn) -> Result<Option<Moment>, StorageError> {
    Ok(query!(conn, |c| {
        let newest = nars::table.filter(nars::quarantined_at.is_not_null()).order(nars::quarantined_at.desc());
        newest.select(nars::quarantined_at.assume_not_null()).first(c).await.optional()?
    }))
}

/// What caches claim of the NARs that are quarantined since a time, by cache and hash.
pub async fn hidden_claims(
    conn: &mut Conn,
    since: Moment,
    after: Option<(CacheId, StorePathHash)>,
    limit: i64,
) -> Result<Vec<(CacheId, StorePathHash)>, StorageError> {
    Ok(query!(conn, |c| {
        let hidden = nars::table.filter(nars::quarantined_at.ge(Some(since))).select(nars::nar_hash);
        let claims = cache_paths::table.filter(cache_paths::nar_hash.eq_any(hidden));
        let claims = claims.order((cache_paths::cache, cache_paths::hash)).limit(limit);
        let mut page = claims.select((cache_paths::cache, cache_paths::hash)).into_boxed::<DB>();
        if let Some((cache, hash)) = after {
            let later = cache_paths::cache.gt(cache).or(cache_paths::cache.eq(cache).and(cache_paths::hash.gt(hash)));
            page = page.filter(later);
        }
        page.load(c).await?
    }))
}
