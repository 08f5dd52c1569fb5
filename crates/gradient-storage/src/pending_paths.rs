//! Paths that were uploaded to a cache and wait for what they refer to. Readers do not see them.

use std::collections::{HashMap, HashSet};

use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, Moment};
use gradient_nix::{NarHash, StorePath, StorePathHash};

use crate::{
    Conn, PathList, SignatureList, StorageError,
    cache_paths::{self, NewCachePath},
    conn::{KEYS_PER_QUERY, insert_rows, query},
    schema::{pending_paths, pending_references},
};

#[derive(Queryable)]
struct Row {
    path: StorePath,
    nar_hash: NarHash,
    #[diesel(deserialize_as = PathList)]
    references: Vec<StorePath>,
    deriver: Option<StorePath>,
    content_address: Option<String>,
    #[diesel(deserialize_as = SignatureList)]
    foreign_signatures: Vec<String>,
}

impl From<Row> for NewCachePath {
    fn from(row: Row) -> Self {
        let Row { path, nar_hash, references, deriver, content_address, foreign_signatures } = row;
        Self { path, nar_hash, references, deriver, content_address, foreign_signatures }
    }
}

/// Lets a path wait until all of `missing` are published, which is not empty. One with the same hash that waits is replaced.
pub async fn insert(
    conn: &mut Conn,
    cache: CacheId,
    new: NewCachePath,
    missing: Vec<StorePathHash>,
    now: Moment,
) -> Result<(), StorageError> {
    let hash = new.path.hash();
    query!(&mut *conn, |c| diesel::delete(pending_paths::table.find((cache, hash))).execute(c).await?);
    query!(&mut *conn, |c| {
        let row = (
            pending_paths::cache.eq(cache),
            pending_paths::hash.eq(hash),
            pending_paths::path.eq(&new.path),
            pending_paths::nar_hash.eq(new.nar_hash),
            pending_paths::reference_list.eq(PathList(new.references.clone())),
            pending_paths::deriver.eq(&new.deriver),
            pending_paths::content_address.eq(&new.content_address),
            pending_paths::foreign_signatures.eq(SignatureList(new.foreign_signatures.clone())),
            pending_paths::created_at.eq(now),
        );
        diesel::insert_into(pending_paths::table).values(row).execute(c).await?
    });
    let rows = missing.into_iter().map(|reference| {
        (pending_references::cache.eq(cache), pending_references::reference.eq(reference), pending_references::hash.eq(hash))
    });
    insert_rows!(conn, pending_references::table, 3, rows, or ignore);
    Ok(())
}

/// Publishes what waited for nothing but these, then what waited for that, and so on; all of which it was.
pub(crate) async fn settle(
    conn: &mut Conn,
    cache: CacheId,
    mut published: Vec<StorePathHash>,
    now: Moment,
) -> Result<Vec<StorePathHash>, StorageError> {
    let waits = query!(&mut *conn, |c| {
        let waiting = pending_paths::table.filter(pending_paths::cache.eq(cache)).select(pending_paths::hash);
        diesel::select(exists(waiting)).get_result::<bool>(c).await?
    });
    let mut settled = Vec::new();
    if !waits {
        return Ok(settled);
    }
    while !published.is_empty() {
        // What came by itself needs no longer wait.
        let mut ready: HashSet<StorePathHash> = HashSet::new();
        for chunk in published.chunks(KEYS_PER_QUERY) {
            let waiting: Vec<StorePathHash> = query!(&mut *conn, |c| {
                let waiting = pending_references::table.filter(pending_references::cache.eq(cache));
                let waiting = waiting.filter(pending_references::reference.eq_any(chunk));
                waiting.select(pending_references::hash).distinct().load(c).await?
            });
            query!(&mut *conn, |c| {
                let came = pending_paths::table.filter(pending_paths::cache.eq(cache)).filter(pending_paths::hash.eq_any(chunk));
                diesel::delete(came).execute(c).await?
            });
            if waiting.is_empty() {
                continue;
            }
            query!(&mut *conn, |c| {
                let met = pending_references::table.filter(pending_references::cache.eq(cache));
                diesel::delete(met.filter(pending_references::reference.eq_any(chunk))).execute(c).await?
            });
            ready.extend(waiting);
        }
        published = release(conn, cache, ready.into_iter().collect(), now).await?;
        settled.extend(&published);
    }
    Ok(settled)
}

/// Publishes those that wait for nothing any more; which they are.
async fn release(
    conn: &mut Conn,
    cache: CacheId,
    ready: Vec<StorePathHash>,
    now: Moment,
) -> Result<Vec<StorePathHash>, StorageError> {
    let mut released = Vec::new();
    for chunk in ready.chunks(KEYS_PER_QUERY) {
        let rows: Vec<Row> = query!(&mut *conn, |c| {
            let waits = pending_references::table
                .filter(pending_references::cache.eq(pending_paths::cache))
                .filter(pending_references::hash.eq(pending_paths::hash));
            let free = pending_paths::table.filter(pending_paths::cache.eq(cache)).filter(pending_paths::hash.eq_any(chunk));
            free.filter(not(exists(waits)))
                .select((
                    pending_paths::path,
                    pending_paths::nar_hash,
                    pending_paths::reference_list,
                    pending_paths::deriver,
                    pending_paths::content_address,
                    pending_paths::foreign_signatures,
                ))
                .load(c)
                .await?
        });
        let hashes: Vec<_> = rows.iter().map(|row| row.path.hash()).collect();
        cache_paths::insert_many(conn, cache, rows.into_iter().map(NewCachePath::from).collect(), now).await?;
        query!(&mut *conn, |c| {
            let done = pending_paths::table.filter(pending_paths::cache.eq(cache)).filter(pending_paths::hash.eq_any(&hashes));
            diesel::delete(done).execute(c).await?
        });
        released.extend(hashes);
    }
    Ok(released)
}

/// How many paths of a cache wait.
pub async fn count(conn: &mut Conn, cache: CacheId) -> Result<i64, StorageError> {
    Ok(query!(conn, |c| pending_paths::table.filter(pending_paths::cache.eq(cache)).count().get_result(c).await?))
}

/// Forgets at most `limit` that have waited since before a time; how many there were.
pub async fn delete_older(conn: &mut Conn, before: Moment, limit: i64) -> Result<usize, StorageError> {
    let old: Vec<(CacheId, StorePathHash)> = query!(&mut *conn, |c| {
        let old = pending_paths::table.filter(pending_paths::created_at.lt(before));
        old.select((pending_paths::cache, pending_paths::hash)).limit(limit).load(c).await?
    });
    let mut of_caches: HashMap<CacheId, Vec<StorePathHash>> = HashMap::new();
    for (cache, hash) in &old {
        of_caches.entry(*cache).or_default().push(*hash);
    }
    for (cache, hashes) in of_caches {
        query!(&mut *conn, |c| {
            let old = pending_paths::table.filter(pending_paths::cache.eq(cache)).filter(pending_paths::hash.eq_any(&hashes));
            diesel::delete(old).execute(c).await?
        });
    }
    Ok(old.len())
}
