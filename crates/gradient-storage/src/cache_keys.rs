//! The keys that caches sign with. A cache has several while its clients change over from one to the next.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, CacheKeyId, Moment, OrganizationId};

use crate::{
    Conn, StorageError,
    conn::query,
    error::{hit, naming},
    schema::cache_keys,
};

/// A key of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = cache_keys, treat_none_as_default_value = false)]
pub struct CacheKey {
    /// Its id.
    pub id: CacheKeyId,
    /// The cache that it is of.
    pub cache: CacheId,
    /// Its name, which no other key of the cache ever has.
    pub name: String,
    /// The public key's 32 bytes.
    pub public_key: Vec<u8>,
    /// The secret key, sealed; none when it is kept elsewhere, or retired.
    pub secret_key_sealed: Option<Vec<u8>>,
    /// When it was added.
    pub created_at: Moment,
    /// Since when it is the one that clients are told of, unless another one is since later.
    pub primary_since: Moment,
    /// Since when nothing is signed with it any more.
    pub retired_at: Option<Moment>,
    /// Whose workers have the secret, when the server does not; none any more when the organization is gone.
    pub organization: Option<OrganizationId>,
    /// Where [`cache_signatures::want_more`](crate::cache_signatures::want_more) goes on; none when everything that the cache has is
    /// wanted, and for keys that the server has.
    pub wanted_after: Option<String>,
}

/// Adds a key; `AlreadyExists` when the cache has or had one of this name.
pub async fn insert(conn: &mut Conn, key: &CacheKey) -> Result<(), StorageError> {
    query!(conn, |c| diesel::insert_into(cache_keys::table).values(key).execute(c).await.map_err(naming("key"))?);
    Ok(())
}

/// The keys that a cache signs with. The first one is that which clients are told of.
pub async fn active(conn: &mut Conn, cache: CacheId) -> Result<Vec<CacheKey>, StorageError> {
    Ok(query!(conn, |c| {
        let all = cache_keys::table.filter(cache_keys::cache.eq(cache)).filter(cache_keys::retired_at.is_null());
        let newest = all.order((cache_keys::primary_since.desc(), cache_keys::id.desc()));
        newest.select(CacheKey::as_select()).load(c).await?
    }))
}

/// The name of the first key that a cache ever had.
pub async fn first_name(conn: &mut Conn, cache: CacheId) -> Result<Option<String>, StorageError> {
    Ok(query!(conn, |c| {
        let all = cache_keys::table.filter(cache_keys::cache.eq(cache)).order((cache_keys::created_at, cache_keys::id));
        all.select(cache_keys::name).first(c).await.optional()?
    }))
}

/// How many keys a cache has and had.
pub async fn count(conn: &mut Conn, cache: CacheId) -> Result<i64, StorageError> {
    Ok(query!(conn, |c| cache_keys::table.filter(cache_keys::cache.eq(cache)).count().get_result(c).await?))
}

/// Whether a key of the cache has or had this name.
pub async fn is_taken(conn: &mut Conn, cache: CacheId, name: &str) -> Result<bool, StorageError> {
    Ok(query!(conn, |c| {
        let named = cache_keys::table.filter(cache_keys::cache.eq(cache)).filter(cache_keys::name.eq(name));
        diesel::select(diesel::dsl::exists(named)).get_result(c).await?
    }))
}

/// The key of this name that a cache has or had.
pub async fn named(conn: &mut Conn, cache: CacheId, name: &str) -> Result<Option<CacheKey>, StorageError> {
    Ok(query!(conn, |c| {
        let named = cache_keys::table.filter(cache_keys::cache.eq(cache)).filter(cache_keys::name.eq(name));
        named.select(CacheKey::as_select()).first(c).await.optional()?
    }))
}

/// Takes a retired key of workers into use again, as what is given here.
pub async fn set_active(conn: &mut Conn, key: &CacheKey) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = cache_keys::table.find(key.id).filter(cache_keys::secret_key_sealed.is_null());
        let active = (
            cache_keys::retired_at.eq(None::<Moment>),
            cache_keys::primary_since.eq(key.primary_since),
            cache_keys::organization.eq(key.organization),
            cache_keys::wanted_after.eq(&key.wanted_after),
        );
        diesel::update(one).set(active).execute(c).await?
    });
    hit(rows, "key", key.id)
}

/// Makes a key the one that clients are told of.
pub async fn set_primary(conn: &mut Conn, cache: CacheId, id: CacheKeyId, now: Moment) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = cache_keys::table.find(id).filter(cache_keys::cache.eq(cache)).filter(cache_keys::retired_at.is_null());
        diesel::update(one).set(cache_keys::primary_since.eq(now)).execute(c).await?
    });
    hit(rows, "key", id)
}

/// Retires a key: its secret is gone, its name stays taken.
pub async fn set_retired(conn: &mut Conn, cache: CacheId, id: CacheKeyId, now: Moment) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = cache_keys::table.find(id).filter(cache_keys::cache.eq(cache)).filter(cache_keys::retired_at.is_null());
        let retired = (cache_keys::retired_at.eq(Some(now)), cache_keys::secret_key_sealed.eq(None::<Vec<u8>>));
        diesel::update(one).set(retired).execute(c).await?
    });
    hit(rows, "key", id)
}
