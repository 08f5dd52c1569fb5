//! What workers sign for caches whose keys they hold: the signatures, and where they are wanted. Nothing else keeps what is to be
//! signed, so nothing of it is lost.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, CacheKeyId};
use gradient_nix::{NarHash, StorePath, StorePathHash};

use crate::{
    Conn, PathList, StorageError,
    cache_keys::{self, CacheKey},
    cache_paths::NewCachePath,
    caches,
    conn::{KEYS_PER_QUERY, insert_rows, query},
    functions::length,
    schema::{cache_keys as keys, cache_paths, cache_signatures, caches as all_caches, nars},
};

/// A path that a key is to sign: all that is signed of it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Unsigned {
    /// The path.
    pub path: StorePath,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// The size of its NAR in bytes.
    pub nar_size: i64,
    /// What it refers to, itself included where it does.
    #[diesel(deserialize_as = PathList)]
    pub references: Vec<StorePath>,
}

/// What there is of the signatures of one path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Those that were made.
    pub made: Vec<String>,
    /// Whether one is missing without which readers do not see the path.
    pub withheld: bool,
}

/// How much a key is to sign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Paths.
    pub paths: i64,
    /// Those of them that readers do not see before.
    pub withheld: i64,
}

/// Wants signatures of paths that have just been published, as far as workers hold keys of the cache. To be called in a transaction
/// that has the cache's [`lock`](caches::lock).
pub(crate) async fn want(conn: &mut Conn, cache: CacheId, order: Vec<StorePathHash>) -> Result<(), StorageError> {
    let active = cache_keys::active(conn, cache).await?;
    // While the server signs, readers have a signature to go by.
    let withheld = matches!(active.as_slice(), [primary, ..] if primary.secret_key_sealed.is_none());
    for key in active.into_iter().filter(|key| key.secret_key_sealed.is_none()).map(|key| key.id) {
        let last: Option<i64> = query!(&mut *conn, |c| {
            let wanted = cache_signatures::table.filter(cache_signatures::key.eq(key));
            let wanted = wanted.filter(cache_signatures::withheld.eq(withheld)).filter(cache_signatures::signature.is_null());
            wanted.order(cache_signatures::position.desc()).select(cache_signatures::position).first(c).await.optional()?
        });
        let rows = (last.unwrap_or(0) + 1..).zip(order.clone()).map(|(position, hash)| {
            (
                cache_signatures::cache.eq(cache),
                cache_signatures::hash.eq(hash),
                cache_signatures::key.eq(key),
                cache_signatures::position.eq(position),
                cache_signatures::withheld.eq(withheld),
            )
        });
        insert_rows!(conn, cache_signatures::table, 5, rows, or ignore);
    }
    Ok(())
}

/// The paths in an order in which each comes after what it refers to.
pub(crate) fn references_first(paths: &[NewCachePath]) -> Vec<StorePathHash> {
    let by_hash: HashMap<StorePathHash, &NewCachePath> = paths.iter().map(|path| (path.path.hash(), path)).collect();
    let (mut seen, mut order) = (HashSet::with_capacity(paths.len()), Vec::with_capacity(paths.len()));
    for path in paths {
        // Each is looked at twice: to go on to what it refers to, and to come after that.
        let mut open = vec![(path.path.hash(), false)];
        while let Some((hash, is_done)) = open.pop() {
            if is_done {
                order.push(hash);
            } else if let Some(path) = by_hash.get(&hash)
                && seen.insert(hash)
            {
                open.push((hash, true));
                open.extend(path.references.iter().map(|reference| (reference.hash(), false)));
            }
        }
    }
    order
}

/// Wants the signatures of a new key of the next paths that the cache had before it. Readers see them meanwhile as they did. To be
/// called in a transaction, until [`CacheKey::wanted_after`] is none.
pub async fn want_more(conn: &mut Conn, cache: CacheId, key: CacheKeyId, limit: i64) -> Result<(), StorageError> {
    caches::lock(conn, cache).await?;
    let after: Option<Option<String>> = query!(&mut *conn, |c| {
        let active = keys::table.find(key).filter(keys::retired_at.is_null());
        active.select(keys::wanted_after).first(c).await.optional()?
    });
    let Some(Some(after)) = after else { return Ok(()) };
    let hashes: Vec<StorePathHash> = query!(&mut *conn, |c| {
        let behind = cache_paths::table.filter(cache_paths::cache.eq(cache)).filter(cache_paths::hash.gt(&after));
        behind.order(cache_paths::hash).limit(limit).select(cache_paths::hash).load(c).await?
    });
    let rows = hashes.iter().map(|hash| {
        (
            cache_signatures::cache.eq(cache),
            cache_signatures::hash.eq(*hash),
            cache_signatures::key.eq(key),
            cache_signatures::position.eq(0),
            cache_signatures::withheld.eq(false),
        )
    });
    insert_rows!(conn, cache_signatures::table, 5, rows, or ignore);
    let after = hashes.last().map(ToString::to_string);
    query!(conn, |c| diesel::update(keys::table.find(key)).set(keys::wanted_after.eq(after)).execute(c).await?);
    Ok(())
}

/// Forgets so much of what a retired key has signed and was to sign. Whether there may be more.
pub async fn delete_some_of_retired(conn: &mut Conn, cache: CacheId, key: CacheKeyId, limit: i64) -> Result<bool, StorageError> {
    caches::lock(conn, cache).await?;
    let hashes: Vec<StorePathHash> = query!(&mut *conn, |c| {
        let retired = keys::table.find(key).filter(keys::retired_at.is_not_null());
        let all = cache_signatures::table.filter(cache_signatures::key.eq(key)).filter(diesel::dsl::exists(retired));
        all.limit(limit).select(cache_signatures::hash).load(c).await?
    });
    for chunk in hashes.chunks(KEYS_PER_QUERY) {
        query!(&mut *conn, |c| {
            let some = cache_signatures::table.filter(cache_signatures::cache.eq(cache)).filter(cache_signatures::key.eq(key));
            diesel::delete(some.filter(cache_signatures::hash.eq_any(chunk))).execute(c).await?
        });
    }
    Ok(!hashes.is_empty())
}

/// Lets readers see what is not signed by workers yet.
pub async fn release(conn: &mut Conn, cache: CacheId) -> Result<(), StorageError> {
    query!(conn, |c| {
        let all = cache_signatures::table.filter(cache_signatures::cache.eq(cache)).filter(cache_signatures::withheld.eq(true));
        diesel::update(all).set(cache_signatures::withheld.eq(false)).execute(c).await?
    });
    Ok(())
}

/// The signatures of one path by keys that workers hold.
pub async fn of_path(conn: &mut Conn, cache: CacheId, hash: StorePathHash) -> Result<Signatures, StorageError> {
    let rows: Vec<(bool, Option<String>)> = query!(conn, |c| {
        // What a retired key has signed goes in steps.
        let all = cache_signatures::table.inner_join(keys::table.on(keys::id.eq(cache_signatures::key)));
        let all = all.filter(keys::retired_at.is_null());
        let all = all.filter(cache_signatures::cache.eq(cache)).filter(cache_signatures::hash.eq(hash));
        all.order(cache_signatures::key).select((cache_signatures::withheld, cache_signatures::signature)).load(c).await?
    });
    let withheld = rows.iter().any(|(withheld, signature)| *withheld && signature.is_none());
    Ok(Signatures { made: rows.into_iter().filter_map(|(_, signature)| signature).collect(), withheld })
}

/// Those of these public keys that are to sign something, each with its cache's key.
pub async fn wanting(conn: &mut Conn, public_keys: &[Vec<u8>]) -> Result<Vec<CacheKey>, StorageError> {
    let mut wanting = Vec::new();
    for chunk in public_keys.chunks(KEYS_PER_QUERY) {
        let keys: Vec<CacheKey> = query!(&mut *conn, |c| {
            let wanted = cache_signatures::table.filter(cache_signatures::key.eq(keys::id));
            let wanted = wanted.filter(cache_signatures::signature.is_null());
            let held = keys::table.inner_join(all_caches::table).filter(all_caches::deleted_at.is_null());
            let held = held.filter(keys::public_key.eq_any(chunk)).filter(keys::secret_key_sealed.is_null());
            let held = held.filter(keys::retired_at.is_null());
            let held = held.filter(keys::wanted_after.is_not_null().or(diesel::dsl::exists(wanted)));
            held.order(keys::id).select(CacheKey::as_select()).load(c).await?
        });
        wanting.extend(keys);
    }
    Ok(wanting)
}

/// The next paths that a key is to sign: first what readers do not see before, and of that what paths refer to before them. At
/// most so many, and with lists of references of so many bytes in all, unless the first alone has more. A path whose list is longer
/// than `too_long` is left out.
pub async fn next(
    conn: &mut Conn,
    key: CacheKeyId,
    limit: i64,
    bytes: i64,
    too_long: i32,
) -> Result<Vec<Unsigned>, StorageError> {
    let lengths: Vec<(StorePathHash, i32)> = query!(&mut *conn, |c| {
        let wanted = cache_signatures::table.inner_join(
            cache_paths::table
                .on(cache_paths::cache.eq(cache_signatures::cache).and(cache_paths::hash.eq(cache_signatures::hash))),
        );
        let wanted = wanted.filter(cache_signatures::key.eq(key)).filter(cache_signatures::signature.is_null());
        let wanted = wanted.filter(length(cache_paths::reference_list).le(too_long));
        let order = (cache_signatures::withheld.desc(), cache_signatures::position, cache_signatures::hash);
        let next = wanted.order(order).limit(limit);
        next.select((cache_signatures::hash, length(cache_paths::reference_list))).load(c).await?
    });
    let mut sum = 0;
    let fits = |(_, length): &(StorePathHash, i32)| {
        let is_first = sum == 0;
        sum += i64::from(*length) + 1;
        is_first || sum <= bytes
    };
    let hashes: Vec<StorePathHash> = lengths.into_iter().take_while(fits).map(|(hash, _)| hash).collect();
    Ok(query!(conn, |c| {
        let wanted = cache_signatures::table
            .inner_join(
                cache_paths::table
                    .on(cache_paths::cache.eq(cache_signatures::cache).and(cache_paths::hash.eq(cache_signatures::hash))),
            )
            .inner_join(nars::table.on(nars::nar_hash.eq(cache_paths::nar_hash)));
        let wanted = wanted.filter(cache_signatures::key.eq(key)).filter(cache_signatures::signature.is_null());
        let wanted = wanted.filter(cache_signatures::hash.eq_any(&hashes));
        let order = (cache_signatures::withheld.desc(), cache_signatures::position, cache_signatures::hash);
        let next = wanted.order(order);
        next.select((cache_paths::path, cache_paths::nar_hash, nars::nar_size, cache_paths::reference_list)).load(c).await?
    }))
}

/// How much a key is to sign.
pub async fn wanted(conn: &mut Conn, key: &CacheKey) -> Result<Wanted, StorageError> {
    macro_rules! wanted {
        () => {
            cache_signatures::table.filter(cache_signatures::key.eq(key.id)).filter(cache_signatures::signature.is_null())
        };
    }
    let listed: i64 = query!(&mut *conn, |c| wanted!().count().get_result(c).await?);
    let withheld = query!(&mut *conn, |c| wanted!().filter(cache_signatures::withheld.eq(true)).count().get_result(c).await?);
    let Some(after) = &key.wanted_after else { return Ok(Wanted { paths: listed, withheld }) };
    // What was published since then is among them, and wanted already.
    let behind: i64 = query!(conn, |c| {
        let known = cache_signatures::table
            .filter(cache_signatures::cache.eq(cache_paths::cache))
            .filter(cache_signatures::hash.eq(cache_paths::hash))
            .filter(cache_signatures::key.eq(key.id));
        let behind = cache_paths::table.filter(cache_paths::cache.eq(key.cache)).filter(cache_paths::hash.gt(after));
        behind.filter(diesel::dsl::not(diesel::dsl::exists(known))).count().get_result(c).await?
    });
    Ok(Wanted { paths: listed + behind, withheld })
}

/// Keeps signatures of a key; where the path has gone meanwhile, or has another NAR now, nothing. To be called in a transaction.
pub async fn set(
    conn: &mut Conn,
    cache: CacheId,
    key: CacheKeyId,
    signatures: Vec<(StorePathHash, NarHash, String)>,
) -> Result<(), StorageError> {
    // An update locks rows in any order; without this, another one could wait for it and be waited for.
    caches::lock(conn, cache).await?;
    for (hash, nar_hash, signature) in signatures {
        query!(&mut *conn, |c| {
            let same = cache_paths::table.find((cache, hash)).filter(cache_paths::nar_hash.eq(nar_hash));
            let one = cache_signatures::table.find((cache, hash, key)).filter(cache_signatures::signature.is_null());
            let one = one.filter(diesel::dsl::exists(same));
            diesel::update(one).set(cache_signatures::signature.eq(Some(signature))).execute(c).await?
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_after_what_it_refers_to() {
        let path = |letter: char| -> StorePath { format!("{}-x", letter.to_string().repeat(32)).parse().unwrap() };
        let new = |letter, references: &[char]| NewCachePath {
            path: path(letter),
            nar_hash: NarHash([0; 32]),
            references: references.iter().map(|letter| path(*letter)).collect(),
            deriver: None,
            content_address: None,
            foreign_signatures: Vec::new(),
        };
        let paths = [new('a', &['a', 'c', 'b']), new('b', &['d', 'z']), new('c', &['d', 'b']), new('d', &[])];
        let order = references_first(&paths);
        assert_eq!(order, ['d', 'b', 'c', 'a'].map(|letter| path(letter).hash()));
    }
}
