use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, CacheName, CacheUpstreamId, DisplayName, Moment};

use crate::{
    Conn, StorageError,
    conn::query,
    error::{found, hit, naming},
    schema::{cache_upstreams, caches},
};

/// Where a cache looks for what it does not have: a URL with a public key, or another cache of this server.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = cache_upstreams, treat_none_as_default_value = false)]
pub struct Upstream {
    /// Its id.
    pub id: CacheUpstreamId,
    /// The cache that looks there.
    pub cache: CacheId,
    /// What people read.
    pub display_name: DisplayName,
    /// Where it is, when it is elsewhere.
    pub url: Option<String>,
    /// What its signatures verify with, when it is elsewhere.
    pub public_key: Option<String>,
    /// The cache of this server that it is.
    pub upstream: Option<CacheId>,
    /// When it was added.
    pub created_at: Moment,
}

/// What of an upstream changes; `None` keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, AsChangeset)]
#[diesel(table_name = cache_upstreams)]
pub struct UpstreamChanges {
    /// A new name to read.
    pub display_name: Option<DisplayName>,
    /// Another place.
    pub url: Option<String>,
    /// Another key.
    pub public_key: Option<String>,
    /// Another cache of this server.
    pub upstream: Option<CacheId>,
}

/// The upstreams of a cache in the order they were added, each with the name of the cache of this server that it is. One whose
/// cache is deleted is gone with it.
pub async fn upstreams(conn: &mut Conn, cache: CacheId) -> Result<Vec<(Upstream, Option<CacheName>)>, StorageError> {
    Ok(query!(conn, |c| {
        let all = cache_upstreams::table.left_join(caches::table).filter(cache_upstreams::cache.eq(cache));
        let all = all.filter(caches::deleted_at.is_null()).order(cache_upstreams::id);
        all.select((Upstream::as_select(), caches::name.nullable())).load(c).await?
    }))
}

/// One upstream of a cache, which has to be there.
pub async fn find_upstream(conn: &mut Conn, cache: CacheId, id: CacheUpstreamId) -> Result<Upstream, StorageError> {
    let all = upstreams(conn, cache).await?;
    found(all.into_iter().map(|(one, _)| one).find(|one| one.id == id), "upstream", id)
}

/// Which cache of this server has which other as an upstream.
pub async fn upstream_links(conn: &mut Conn) -> Result<Vec<(CacheId, CacheId)>, StorageError> {
    let rows: Vec<(CacheId, Option<CacheId>)> = query!(conn, |c| {
        let links = cache_upstreams::table.filter(cache_upstreams::upstream.is_not_null());
        links.select((cache_upstreams::cache, cache_upstreams::upstream)).load(c).await?
    });
    Ok(rows.into_iter().filter_map(|(cache, upstream)| Some((cache, upstream?))).collect())
}

/// Adds an upstream; `AlreadyExists` when the cache has it.
pub async fn insert_upstream(conn: &mut Conn, upstream: &Upstream) -> Result<(), StorageError> {
    query!(conn, |c| {
        let insert = diesel::insert_into(cache_upstreams::table).values(upstream);
        insert.execute(c).await.map_err(naming("upstream"))?
    });
    Ok(())
}

/// Changes an upstream; `AlreadyExists` when the cache has what it becomes.
pub async fn set_upstream(
    conn: &mut Conn,
    cache: CacheId,
    id: CacheUpstreamId,
    changes: &UpstreamChanges,
) -> Result<(), StorageError> {
    if *changes == UpstreamChanges::default() {
        return find_upstream(conn, cache, id).await.map(drop);
    }
    let rows = query!(conn, |c| {
        let one = cache_upstreams::table.find(id).filter(cache_upstreams::cache.eq(cache));
        diesel::update(one).set(changes).execute(c).await.map_err(naming("upstream"))?
    });
    hit(rows, "upstream", id)
}

/// Removes an upstream.
pub async fn delete_upstream(conn: &mut Conn, cache: CacheId, id: CacheUpstreamId) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = cache_upstreams::table.find(id).filter(cache_upstreams::cache.eq(cache));
        diesel::delete(one).execute(c).await?
    });
    hit(rows, "upstream", id)
}
