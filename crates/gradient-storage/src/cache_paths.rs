//! What caches publish: a claim on each path.

use std::collections::HashSet;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, Moment};
use gradient_nix::{NarHash, StorePath, StorePathHash};

use crate::{
    Conn, PathList, SignatureList, StorageError, cache_signatures, caches,
    conn::{KEYS_PER_QUERY, insert_rows, query},
    error::hit,
    pending_paths,
    schema::{cache_paths, nars},
};

/// A path that a cache publishes, with what a narinfo says of it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct CachePath {
    /// The path.
    pub path: StorePath,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// The size of its NAR in bytes.
    pub nar_size: i64,
    /// The SHA-256 of the compressed NAR.
    pub file_hash: NarHash,
    /// The size of the compressed NAR.
    pub file_size: i64,
    /// What it refers to, itself included where it does.
    #[diesel(deserialize_as = PathList)]
    pub references: Vec<StorePath>,
    /// The derivation that it is an output of.
    pub deriver: Option<StorePath>,
    /// Its content address, in Nix's notation.
    pub content_address: Option<String>,
    /// Signatures of others.
    #[diesel(deserialize_as = SignatureList)]
    pub foreign_signatures: Vec<String>,
}

/// A path that a cache is to publish. Its NAR is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCachePath {
    /// The path.
    pub path: StorePath,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// What it refers to, itself included where it does.
    pub references: Vec<StorePath>,
    /// The derivation that it is an output of.
    pub deriver: Option<StorePath>,
    /// Its content address, in Nix's notation.
    pub content_address: Option<String>,
    /// Signatures of others.
    pub foreign_signatures: Vec<String>,
}

/// What [`publish`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// How many of the paths were not published before, beside those that waited.
    pub new: usize,
    /// What the cache has now: the paths, and those that waited for them.
    pub hashes: Vec<StorePathHash>,
}

/// Publishes paths, and what was waiting for them; what is published stays as it is. What they refer to has to be there, or be
/// among them.
///
/// Publications of a cache, and what takes paths from it, wait for each other, so that none sees half of another.
pub async fn publish(conn: &mut Conn, cache: CacheId, new: Vec<NewCachePath>, now: Moment) -> Result<Published, StorageError> {
    if !caches::lock(conn, cache).await? {
        return Ok(Published::default());
    }
    let mut hashes: Vec<_> = new.iter().map(|new| new.path.hash()).collect();
    let new = insert_many(conn, cache, new, now).await?;
    hashes.extend(pending_paths::settle(conn, cache, hashes.clone(), now).await?);
    Ok(Published { new, hashes })
}

/// What is published stays as it is, but that it is claimed again is noted of those paths that no other of them refers to: they hold
/// the rest.
pub(crate) async fn insert_many(
    conn: &mut Conn,
    cache: CacheId,
    mut new: Vec<NewCachePath>,
    now: Moment,
) -> Result<usize, StorageError> {
    let (count, tops, order) = (new.len(), tops(&new), cache_signatures::references_first(&new));
    let hashes: Vec<StorePathHash> = new.iter().map(|new| new.path.hash()).collect();
    for chunk in hashes.chunks(KEYS_PER_QUERY) {
        give_way(conn, cache, chunk).await?;
    }
    // Always in the same order, so that two transactions with the same paths wait for each other rather than lock each other out.
    new.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let rows = new.into_iter().map(|new| {
        (
            cache_paths::cache.eq(cache),
            cache_paths::hash.eq(new.path.hash()),
            cache_paths::path.eq(new.path),
            cache_paths::nar_hash.eq(new.nar_hash),
            cache_paths::reference_list.eq(PathList(new.references)),
            cache_paths::deriver.eq(new.deriver),
            cache_paths::content_address.eq(new.content_address),
            cache_paths::foreign_signatures.eq(SignatureList(new.foreign_signatures)),
            cache_paths::created_at.eq(now),
            cache_paths::claimed_at.eq(now),
        )
    });
    let inserted = insert_rows!(conn, cache_paths::table, 10, rows, or ignore);
    if inserted < count {
        for chunk in tops.chunks(KEYS_PER_QUERY) {
            claim_again(conn, cache, chunk, now).await?;
        }
    }
    cache_signatures::want(conn, cache, order).await?;
    Ok(inserted)
}

/// Those that no other of the paths refers to.
fn tops(paths: &[NewCachePath]) -> Vec<StorePathHash> {
    let others = paths.iter().flat_map(|path| path.references.iter().filter(|reference| **reference != path.path));
    let referred: HashSet<&StorePath> = others.collect();
    paths.iter().filter(|path| !referred.contains(&path.path)).map(|path| path.path.hash()).collect()
}

/// Takes away claims on what nobody has any more: what comes now may be another content of the same path.
async fn give_way(conn: &mut Conn, cache: CacheId, hashes: &[StorePathHash]) -> Result<(), StorageError> {
    query!(conn, |c| {
        let hidden = nars::table.filter(nars::quarantined_at.is_not_null()).select(nars::nar_hash);
        let some = cache_paths::table.filter(cache_paths::cache.eq(cache)).filter(cache_paths::hash.eq_any(hashes));
        diesel::delete(some.filter(cache_paths::nar_hash.eq_any(hidden))).execute(c).await?
    });
    Ok(())
}

/// Notes that paths are claimed again. To be called in a transaction that has the cache's [`lock`](caches::lock).
pub async fn claim_again(conn: &mut Conn, cache: CacheId, hashes: &[StorePathHash], now: Moment) -> Result<(), StorageError> {
    query!(conn, |c| {
        let some = cache_paths::table.filter(cache_paths::cache.eq(cache)).filter(cache_paths::hash.eq_any(hashes));
        diesel::update(some).set(cache_paths::claimed_at.eq(now)).execute(c).await?
    });
    Ok(())
}

/// Notes that paths were fetched, unless that was noted after `since`. To be called in a transaction.
pub async fn set_fetched(
    conn: &mut Conn,
    cache: CacheId,
    hashes: &[StorePathHash],
    since: Moment,
    now: Moment,
) -> Result<(), StorageError> {
    // An update locks rows in any order; without this, another one could wait for it and be waited for.
    caches::lock(conn, cache).await?;
    query!(conn, |c| {
        let some = cache_paths::table.filter(cache_paths::cache.eq(cache)).filter(cache_paths::hash.eq_any(hashes));
        let unnoted = cache_paths::last_fetched_at.is_null().or(cache_paths::last_fetched_at.lt(Some(since)));
        diesel::update(some.filter(unnoted)).set(cache_paths::last_fetched_at.eq(Some(now))).execute(c).await?
    });
    Ok(())
}

type PublishedColumns = (
    cache_paths::path,
    cache_paths::nar_hash,
    nars::nar_size,
    nars::file_hash,
    nars::file_size,
    cache_paths::reference_list,
    cache_paths::deriver,
    cache_paths::content_address,
    cache_paths::foreign_signatures,
);

const PUBLISHED: PublishedColumns = (
    cache_paths::path,
    cache_paths::nar_hash,
    nars::nar_size,
    nars::file_hash,
    nars::file_size,
    cache_paths::reference_list,
    cache_paths::deriver,
    cache_paths::content_address,
    cache_paths::foreign_signatures,
);

macro_rules! published {
    () => {
        cache_paths::table.inner_join(nars::table).filter(nars::quarantined_at.is_null())
    };
}

/// The published path with this hash.
pub async fn lookup_by_hash(conn: &mut Conn, cache: CacheId, hash: StorePathHash) -> Result<Option<CachePath>, StorageError> {
    Ok(query!(conn, |c| {
        let one = published!().filter(cache_paths::cache.eq(cache)).filter(cache_paths::hash.eq(hash));
        one.select(PUBLISHED).first(c).await.optional()?
    }))
}

/// One of the published paths that have this NAR.
pub async fn lookup_by_nar(conn: &mut Conn, cache: CacheId, nar: NarHash) -> Result<Option<CachePath>, StorageError> {
    Ok(query!(conn, |c| {
        let all = published!().filter(cache_paths::cache.eq(cache)).filter(cache_paths::nar_hash.eq(nar));
        all.order(cache_paths::hash).select(PUBLISHED).first(c).await.optional()?
    }))
}

/// Those of the hashes that are published.
pub async fn known(conn: &mut Conn, cache: CacheId, hashes: &[StorePathHash]) -> Result<HashSet<StorePathHash>, StorageError> {
    let mut known = HashSet::with_capacity(hashes.len());
    for chunk in hashes.chunks(KEYS_PER_QUERY) {
        let rows: Vec<StorePathHash> = query!(&mut *conn, |c| {
            let all = cache_paths::table.inner_join(nars::table).filter(nars::quarantined_at.is_null());
            let all = all.filter(cache_paths::cache.eq(cache)).filter(cache_paths::hash.eq_any(chunk));
            all.select(cache_paths::hash).load(c).await?
        });
        known.extend(rows);
    }
    Ok(known)
}

/// Those of the hashes that these caches publish, each with the cache and the path.
pub async fn find_in(
    conn: &mut Conn,
    caches: &[CacheId],
    hashes: &[StorePathHash],
) -> Result<Vec<(CacheId, CachePath)>, StorageError> {
    let mut found = Vec::new();
    for chunk in hashes.chunks(KEYS_PER_QUERY) {
        let rows: Vec<(CacheId, CachePath)> = query!(&mut *conn, |c| {
            let all = published!().filter(cache_paths::cache.eq_any(caches)).filter(cache_paths::hash.eq_any(chunk));
            all.order((cache_paths::hash, cache_paths::cache)).select((cache_paths::cache, PUBLISHED)).load(c).await?
        });
        found.extend(rows);
    }
    Ok(found)
}

/// How many paths a cache has.
pub async fn count(conn: &mut Conn, cache: CacheId) -> Result<i64, StorageError> {
    Ok(query!(conn, |c| cache_paths::table.filter(cache_paths::cache.eq(cache)).count().get_result(c).await?))
}

/// At most `limit` of the hashes of all paths of a cache, in order, beginning behind one. Those whose NAR is in quarantine are among
/// them.
pub async fn hashes_after(
    conn: &mut Conn,
    cache: CacheId,
    after: Option<StorePathHash>,
    limit: i64,
) -> Result<Vec<StorePathHash>, StorageError> {
    Ok(query!(conn, |c| {
        let mut all = cache_paths::table.filter(cache_paths::cache.eq(cache)).select(cache_paths::hash).into_boxed();
        if let Some(after) = after {
            all = all.filter(cache_paths::hash.gt(after));
        }
        all.order(cache_paths::hash).limit(limit).load(c).await?
    }))
}

/// Replaces the signatures of others.
pub async fn set_foreign_signatures(
    conn: &mut Conn,
    cache: CacheId,
    hash: StorePathHash,
    signatures: Vec<String>,
) -> Result<(), StorageError> {
    let signatures = SignatureList(signatures);
    let rows = query!(conn, |c| {
        let one = cache_paths::table.find((cache, hash));
        diesel::update(one).set(cache_paths::foreign_signatures.eq(signatures)).execute(c).await?
    });
    hit(rows, "published path", hash)
}
