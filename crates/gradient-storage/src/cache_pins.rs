//! What caches keep, whatever their retention is.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, Moment, UserId};
use gradient_nix::{StorePath, StorePathHash};

use crate::{
    Conn, StorageError,
    conn::query,
    error::{hit, naming},
    schema::{cache_paths, cache_pins},
};

/// A pin.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = cache_pins, treat_none_as_default_value = false)]
pub struct Pin {
    /// The cache.
    pub cache: CacheId,
    /// The hash of the path that it keeps, with all that the path refers to.
    pub hash: StorePathHash,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: Moment,
}

/// Adds a pin; `AlreadyExists` when there is one.
pub async fn insert(conn: &mut Conn, pin: &Pin) -> Result<(), StorageError> {
    query!(conn, |c| diesel::insert_into(cache_pins::table).values(pin).execute(c).await.map_err(naming("pin"))?);
    Ok(())
}

/// Removes a pin.
pub async fn delete(conn: &mut Conn, cache: CacheId, hash: StorePathHash) -> Result<(), StorageError> {
    let rows = query!(conn, |c| diesel::delete(cache_pins::table.find((cache, hash))).execute(c).await?);
    hit(rows, "pin", hash)
}

/// The pins of a cache by hash, each with its path as long as the cache has it. Beside the page the count of all of them.
pub async fn page(
    conn: &mut Conn,
    cache: CacheId,
    limit: i64,
    offset: i64,
) -> Result<(Vec<(Pin, Option<StorePath>)>, i64), StorageError> {
    let total = query!(&mut *conn, |c| { cache_pins::table.filter(cache_pins::cache.eq(cache)).count().get_result(c).await? });
    let rows = query!(conn, |c| {
        let same = cache_paths::cache.eq(cache_pins::cache).and(cache_paths::hash.eq(cache_pins::hash));
        let all = cache_pins::table.left_join(cache_paths::table.on(same)).filter(cache_pins::cache.eq(cache));
        let page = all.order(cache_pins::hash).limit(limit).offset(offset);
        page.select((Pin::as_select(), cache_paths::path.nullable())).load(c).await?
    });
    Ok((rows, total))
}

/// All that a cache has pinned.
pub async fn hashes(conn: &mut Conn, cache: CacheId) -> Result<Vec<StorePathHash>, StorageError> {
    Ok(query!(conn, |c| cache_pins::table.filter(cache_pins::cache.eq(cache)).select(cache_pins::hash).load(c).await?))
}

/// Those of the hashes that are pinned.
pub async fn pinned(conn: &mut Conn, cache: CacheId, hashes: &[StorePathHash]) -> Result<Vec<StorePathHash>, StorageError> {
    Ok(query!(conn, |c| {
        let pins = cache_pins::table.filter(cache_pins::cache.eq(cache)).filter(cache_pins::hash.eq_any(hashes));
        pins.select(cache_pins::hash).load(c).await?
    }))
}
