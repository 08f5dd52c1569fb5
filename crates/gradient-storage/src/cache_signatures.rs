//! What workers sign for caches whose keys they hold: the signatures, and where they are wanted. Nothing else keeps what is to be
//! signed, so nothing of it is lost.

use std::collections::{HashMap, HashSet};

use diesel::{prelude::*, sql_types};
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, CacheKeyId, sql::Key};
use gradient_nix::{NarHash, StorePath, StorePathHash};

use crate::{
    Conn, PathList, StorageError,
    cache_keys::{self, CacheKey},
    cache_paths::NewCachePath,
    caches,
    conn::{insert_rows, query},
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

/// Wants the signature of a new key of everything that the cache has. Readers see it meanwhile as they did. To be called in a
/// transaction that has the cache's [`lock`](caches::lock).
pub async fn want_all(conn: &mut Conn, cache: CacheId, key: CacheKeyId) -> Result<(), StorageError> {
    query!(conn, |c| {
        cache_paths::table
            .filter(cache_paths::cache.eq(cache))
            .select((
                cache_paths::cache,
                cache_paths::hash,
                key.into_sql::<Key>(),
                0_i64.into_sql::<sql_types::BigInt>(),
                false.into_sql::<sql_types::Bool>(),
            ))
            .insert_into(cache_signatures::table)
            .into_columns((
                cache_signatures::cache,
                cache_signatures::hash,
                cache_signatures::key,
                cache_signatures::position,
                cache_signatures::withheld,
            ))
            .execute(c)
            .await?
    });
    Ok(())
}

/// Forgets all that has to do with a key.
pub async fn delete_of_key(conn: &mut Conn, cache: CacheId, key: CacheKeyId) -> Result<(), StorageError> {
    query!(conn, |c| {
        let all = cache_signatures::table.filter(cache_signatures::cache.eq(cache)).filter(cache_signatures::key.eq(key));
        diesel::delete(all).execute(c).await?
    });
    Ok(())
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
        let all = cache_signatures::table.filter(cache_signatures::cache.eq(cache)).filter(cache_signatures::hash.eq(hash));
        all.order(cache_signatures::key).select((cache_signatures::withheld, cache_signatures::signature)).load(c).await?
    });
    let withheld = rows.iter().any(|(withheld, signature)| *withheld && signature.is_none());
    Ok(Signatures { made: rows.into_iter().filter_map(|(_, signature)| signature).collect(), withheld })
}

/// Those of these public keys that are to sign something, each with its cache's key.
pub async fn wanting(conn: &mut Conn, public_keys: &[Vec<u8>]) -> Result<Vec<CacheKey>, StorageError> {
    Ok(query!(conn, |c| {
        let wanted = cache_signatures::table.filter(cache_signatures::key.eq(keys::id));
        let wanted = wanted.filter(cache_signatures::signature.is_null());
        let held = keys::table.inner_join(all_caches::table).filter(all_caches::deleted_at.is_null());
        let held = held.filter(keys::public_key.eq_any(public_keys)).filter(keys::secret_key_sealed.is_null());
        let held = held.filter(keys::retired_at.is_null()).filter(diesel::dsl::exists(wanted));
        held.order(keys::id).select(CacheKey::as_select()).load(c).await?
    }))
}

/// The next paths that a key is to sign: first what readers do not see before, and what paths refer to before them.
pub async fn next(conn: &mut Conn, key: CacheKeyId, limit: i64) -> Result<Vec<Unsigned>, StorageError> {
    Ok(query!(conn, |c| {
        let wanted = cache_signatures::table
            .inner_join(
                cache_paths::table
                    .on(cache_paths::cache.eq(cache_signatures::cache).and(cache_paths::hash.eq(cache_signatures::hash))),
            )
            .inner_join(nars::table.on(nars::nar_hash.eq(cache_paths::nar_hash)));
        let wanted = wanted.filter(cache_signatures::key.eq(key)).filter(cache_signatures::signature.is_null());
        let order = (cache_signatures::withheld.desc(), cache_signatures::position, cache_signatures::hash);
        let next = wanted.order(order).limit(limit);
        next.select((cache_paths::path, cache_paths::nar_hash, nars::nar_size, cache_paths::reference_list)).load(c).await?
    }))
}

/// How much a key is to sign.
pub async fn wanted(conn: &mut Conn, key: CacheKeyId) -> Result<Wanted, StorageError> {
    macro_rules! wanted {
        () => {
            cache_signatures::table.filter(cache_signatures::key.eq(key)).filter(cache_signatures::signature.is_null())
        };
    }
    let paths = query!(&mut *conn, |c| wanted!().count().get_result(c).await?);
    let withheld = query!(conn, |c| wanted!().filter(cache_signatures::withheld.eq(true)).count().get_result(c).await?);
    Ok(Wanted { paths, withheld })
}

/// Keeps signatures of a key; where the path has gone meanwhile, nothing. To be called in a transaction.
pub async fn set(
    conn: &mut Conn,
    cache: CacheId,
    key: CacheKeyId,
    signatures: Vec<(StorePathHash, String)>,
) -> Result<(), StorageError> {
    // An update locks rows in any order; without this, another one could wait for it and be waited for.
    caches::lock(conn, cache).await?;
    for (hash, signature) in signatures {
        query!(&mut *conn, |c| {
            let one = cache_signatures::table.find((cache, hash, key));
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
