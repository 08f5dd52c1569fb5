//! Keys that programs sign in with. Only the hash of a key is kept.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{ApiKeyId, ApiKeyName, CacheId, CachePermissions, Moment, OrganizationId, Permissions, UserId};

use crate::{
    Conn, Digest, StorageError,
    conn::query,
    error::{found, hit, naming},
    schema::api_keys,
};

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = api_keys, treat_none_as_default_value = false)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is.
    pub user: UserId,
    /// What the user calls it, unique among its keys.
    pub name: ApiKeyName,
    /// The SHA-256 of the key.
    pub secret_hash: Digest,
    /// The most it may do in an organization.
    pub permissions: Permissions,
    /// The most it may do on a cache.
    pub cache_permissions: CachePermissions,
    /// The only organization it is good for.
    pub organization: Option<OrganizationId>,
    /// The only cache it is good for.
    pub cache: Option<CacheId>,
    /// When it was made.
    pub created_at: Moment,
    /// When it was last seen.
    pub last_used_at: Option<Moment>,
    /// When it ends.
    pub expires_at: Option<Moment>,
}

/// What of a key changes; `None` keeps, `Some(None)` unpins.
#[derive(Debug, Clone, Default, PartialEq, Eq, AsChangeset)]
#[diesel(table_name = api_keys)]
pub struct ApiKeyChanges {
    /// A new name.
    pub name: Option<ApiKeyName>,
    /// A new mask for organizations.
    pub permissions: Option<Permissions>,
    /// A new mask for caches.
    pub cache_permissions: Option<CachePermissions>,
    /// Another pin.
    pub organization: Option<Option<OrganizationId>>,
}

/// Adds a key; `AlreadyExists` when the user has one of that name.
pub async fn insert(conn: &mut Conn, api_key: &ApiKey) -> Result<(), StorageError> {
    query!(conn, |c| diesel::insert_into(api_keys::table).values(api_key).execute(c).await.map_err(naming("API key"))?);
    Ok(())
}

/// The keys of a user, by name.
pub async fn list(conn: &mut Conn, user: UserId) -> Result<Vec<ApiKey>, StorageError> {
    Ok(query!(conn, |c| {
        let keys = api_keys::table.filter(api_keys::user.eq(user)).order(api_keys::name);
        keys.select(ApiKey::as_select()).load(c).await?
    }))
}

/// How many keys a user has.
pub async fn count(conn: &mut Conn, user: UserId) -> Result<i64, StorageError> {
    Ok(query!(conn, |c| api_keys::table.filter(api_keys::user.eq(user)).count().get_result(c).await?))
}

/// One key of a user.
pub async fn lookup(conn: &mut Conn, user: UserId, id: ApiKeyId) -> Result<Option<ApiKey>, StorageError> {
    Ok(query!(conn, |c| {
        let one = api_keys::table.find(id).filter(api_keys::user.eq(user));
        one.select(ApiKey::as_select()).first(c).await.optional()?
    }))
}

/// The key with this SHA-256, also when it has ended.
pub async fn lookup_by_hash(conn: &mut Conn, hash: Digest) -> Result<Option<ApiKey>, StorageError> {
    Ok(query!(conn, |c| {
        let one = api_keys::table.filter(api_keys::secret_hash.eq(hash));
        one.select(ApiKey::as_select()).first(c).await.optional()?
    }))
}

/// Changes a key of a user; `AlreadyExists` when the new name is taken.
pub async fn set(conn: &mut Conn, user: UserId, id: ApiKeyId, changes: &ApiKeyChanges) -> Result<(), StorageError> {
    if *changes == ApiKeyChanges::default() {
        return found(lookup(conn, user, id).await?, "API key", id).map(drop);
    }
    let rows = query!(conn, |c| {
        let one = api_keys::table.find(id).filter(api_keys::user.eq(user));
        diesel::update(one).set(changes).execute(c).await.map_err(naming("API key"))?
    });
    hit(rows, "API key", id)
}

/// Notes that a key was used.
pub async fn touch(conn: &mut Conn, id: ApiKeyId, now: Moment) -> Result<(), StorageError> {
    query!(conn, |c| diesel::update(api_keys::table.find(id)).set(api_keys::last_used_at.eq(Some(now))).execute(c).await?);
    Ok(())
}

/// Removes the keys that are good for an organization only.
pub async fn delete_of_organization(conn: &mut Conn, organization: OrganizationId) -> Result<usize, StorageError> {
    Ok(query!(conn, |c| {
        diesel::delete(api_keys::table.filter(api_keys::organization.eq(Some(organization)))).execute(c).await?
    }))
}

/// Removes the keys that are good for a cache only.
pub async fn delete_of_cache(conn: &mut Conn, cache: CacheId) -> Result<usize, StorageError> {
    Ok(query!(conn, |c| diesel::delete(api_keys::table.filter(api_keys::cache.eq(Some(cache)))).execute(c).await?))
}

/// Removes the key that a user calls so.
pub async fn delete_by_name(conn: &mut Conn, user: UserId, name: &ApiKeyName) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = api_keys::table.filter(api_keys::user.eq(user)).filter(api_keys::name.eq(name));
        diesel::delete(one).execute(c).await?
    });
    hit(rows, "API key", name)
}
