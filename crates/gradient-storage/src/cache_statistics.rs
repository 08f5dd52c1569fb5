//! What caches have, and what was asked of them.

use diesel::{dsl::sql, prelude::*, sql_types::BigInt};
use diesel_async::RunQueryDsl;
use gradient_domain::CacheId;

use crate::{
    Conn, StorageError,
    conn::query,
    schema::{cache_counters, cache_paths, nars},
};

/// What was asked of a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Queryable)]
pub struct Asked {
    /// Narinfos that it had.
    pub hits: i64,
    /// Narinfos that it did not have.
    pub misses: i64,
    /// Bytes of NARs that were sent, as they are stored.
    pub bytes_served: i64,
}

/// What a cache has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Its paths.
    pub paths: i64,
    /// What the NARs of all of them have together, each counted for itself and as it was before compression.
    pub nar_bytes: i64,
    /// What the files of its NARs have together, each counted once.
    pub file_bytes: i64,
}

/// Adds to what was asked of a cache, as long as it is there.
pub async fn add(conn: &mut Conn, cache: CacheId, asked: Asked) -> Result<(), StorageError> {
    query!(conn, |c| {
        diesel::update(cache_counters::table.find(cache))
            .set((
                cache_counters::hits.eq(cache_counters::hits + asked.hits),
                cache_counters::misses.eq(cache_counters::misses + asked.misses),
                cache_counters::bytes_served.eq(cache_counters::bytes_served + asked.bytes_served),
            ))
            .execute(c)
            .await?
    });
    Ok(())
}

/// What was asked of a cache.
pub async fn asked(conn: &mut Conn, cache: CacheId) -> Result<Asked, StorageError> {
    let counters = query!(conn, |c| {
        let one = cache_counters::table.find(cache);
        let one = one.select((cache_counters::hits, cache_counters::misses, cache_counters::bytes_served));
        one.first(c).await.optional()?
    });
    Ok(counters.unwrap_or_default())
}

/// What a cache has. It looks at all of it.
pub async fn holdings(conn: &mut Conn, cache: CacheId) -> Result<Holdings, StorageError> {
    let (paths, nar_bytes) = query!(&mut *conn, |c| {
        // A sum is `numeric` on PostgreSQL.
        let sum = sql::<BigInt>("CAST(coalesce(sum(nars.nar_size), 0) AS bigint)");
        let all = cache_paths::table.inner_join(nars::table).filter(cache_paths::cache.eq(cache));
        all.select((diesel::dsl::count_star(), sum)).first(c).await?
    });
    let file_bytes = query!(conn, |c| {
        let sum = sql::<BigInt>("CAST(coalesce(sum(nars.file_size), 0) AS bigint)");
        let claimed = cache_paths::table.filter(cache_paths::cache.eq(cache)).select(cache_paths::nar_hash);
        nars::table.filter(nars::nar_hash.eq_any(claimed)).select(sum).first(c).await?
    });
    Ok(Holdings { paths, nar_bytes, file_bytes })
}
