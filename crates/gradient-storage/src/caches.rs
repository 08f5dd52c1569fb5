//! Binary caches, and who may do what with them. What is deleted is not there for any of these functions.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, CacheName, DisplayName, Moment, UserId};

use crate::{
    Conn, StorageError,
    conn::query,
    error::{found, hit, naming},
    schema::{cache_counters, caches},
};

mod members;
mod upstreams;

pub use members::{
    Member, administered, count_admins, delete_member, insert_member, members, role_of, roles_of, set_member_role,
};
pub use upstreams::{
    Upstream, UpstreamChanges, delete_upstream, find_upstream, insert_upstream, set_upstream, upstream_links, upstreams,
};

/// One cache.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = caches, treat_none_as_default_value = false)]
pub struct Cache {
    /// Its id.
    pub id: CacheId,
    /// Its name, unique on the server.
    pub name: CacheName,
    /// What people read.
    pub display_name: DisplayName,
    /// What it is about.
    pub description: String,
    /// What Nix goes by when it has several; lower is asked first.
    pub priority: i32,
    /// Whether it serves.
    pub active: bool,
    /// Whether everybody may read it.
    pub public: bool,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: Moment,
    /// When it was deleted; never set in what these functions answer.
    pub deleted_at: Option<Moment>,
    /// For how many days it keeps what nobody fetches; for ever without.
    pub retention_days: Option<i32>,
    /// How much it may have, in bytes; any amount without.
    pub max_bytes: Option<i64>,
    /// Whether it keeps what it finds in its upstreams and somebody fetches.
    pub pull_through: bool,
}

/// What of a cache changes; `None` keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, AsChangeset)]
#[diesel(table_name = caches)]
pub struct CacheChanges {
    /// A new name.
    pub name: Option<CacheName>,
    /// A new name to read.
    pub display_name: Option<DisplayName>,
    /// A new description.
    pub description: Option<String>,
    /// A new priority.
    pub priority: Option<i32>,
    /// Whether it serves from now on.
    pub active: Option<bool>,
    /// Whether everybody may read it from now on.
    pub public: Option<bool>,
    /// For how many days it keeps what nobody fetches; `Some(None)` is for ever.
    pub retention_days: Option<Option<i32>>,
    /// How much it may have, in bytes; `Some(None)` is any amount.
    pub max_bytes: Option<Option<i64>>,
    /// Whether it keeps what it finds in its upstreams from now on.
    pub pull_through: Option<bool>,
}

/// Adds a cache; `AlreadyExists` when the name is taken.
pub async fn insert(conn: &mut Conn, cache: &Cache) -> Result<(), StorageError> {
    query!(&mut *conn, |c| diesel::insert_into(caches::table).values(cache).execute(c).await.map_err(naming("cache"))?);
    query!(conn, |c| {
        let counters = diesel::insert_into(cache_counters::table).values(cache_counters::cache.eq(cache.id));
        counters.execute(c).await?
    });
    Ok(())
}

/// The cache with this id.
pub async fn lookup(conn: &mut Conn, id: CacheId) -> Result<Option<Cache>, StorageError> {
    Ok(query!(conn, |c| {
        let one = caches::table.find(id).filter(caches::deleted_at.is_null());
        one.select(Cache::as_select()).first(c).await.optional()?
    }))
}

/// The cache with this id, which has to be there.
pub async fn find(conn: &mut Conn, id: CacheId) -> Result<Cache, StorageError> {
    found(lookup(conn, id).await?, "cache", id)
}

/// Lets one transaction at a time decide about a cache's members; whether the cache is there. On SQLite the writer is alone anyway.
pub async fn lock(conn: &mut Conn, id: CacheId) -> Result<bool, StorageError> {
    macro_rules! one {
        () => {
            caches::table.find(id).filter(caches::deleted_at.is_null()).select(caches::id)
        };
    }
    let there: Option<CacheId> = query!(
        conn,
        postgres | c | one!().for_no_key_update().first(c).await.optional()?,
        sqlite | c | one!().first(c).await.optional()?,
    );
    Ok(there.is_some())
}

/// The cache of this name.
pub async fn lookup_by_name(conn: &mut Conn, name: &CacheName) -> Result<Option<Cache>, StorageError> {
    Ok(query!(conn, |c| {
        let one = caches::table.filter(caches::name.eq(name)).filter(caches::deleted_at.is_null());
        one.select(Cache::as_select()).first(c).await.optional()?
    }))
}

/// The public caches and these, by name. Beside the page the count of all of them.
pub async fn page(conn: &mut Conn, seen: &[CacheId], limit: i64, offset: i64) -> Result<(Vec<Cache>, i64), StorageError> {
    macro_rules! visible {
        () => {
            caches::table.filter(caches::deleted_at.is_null()).filter(caches::public.eq(true).or(caches::id.eq_any(seen)))
        };
    }
    let total = query!(&mut *conn, |c| visible!().count().get_result(c).await?);
    let rows = query!(conn, |c| {
        let page = visible!().order(caches::name).limit(limit).offset(offset);
        page.select(Cache::as_select()).load(c).await?
    });
    Ok((rows, total))
}

/// Changes a cache; `AlreadyExists` when the new name is taken.
pub async fn set(conn: &mut Conn, id: CacheId, changes: &CacheChanges) -> Result<(), StorageError> {
    if *changes == CacheChanges::default() {
        return find(conn, id).await.map(drop);
    }
    let rows = query!(conn, |c| {
        let one = caches::table.find(id).filter(caches::deleted_at.is_null());
        diesel::update(one).set(changes).execute(c).await.map_err(naming("cache"))?
    });
    hit(rows, "cache", id)
}

/// Hides a cache; its name is free again.
pub async fn set_deleted(conn: &mut Conn, id: CacheId, now: Moment) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = caches::table.find(id).filter(caches::deleted_at.is_null());
        diesel::update(one).set(caches::deleted_at.eq(Some(now))).execute(c).await?
    });
    hit(rows, "cache", id)
}
