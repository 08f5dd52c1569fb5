//! Which organization publishes to, and reads from, which cache.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, CacheName, DisplayName, Moment, OrganizationId, SubscriptionMode, UserId};

use crate::{
    Conn, StorageError,
    conn::query,
    error::{hit, naming},
    schema::{caches, organization_members, organizations, subscriptions},
};

/// One subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = subscriptions)]
pub struct Subscription {
    /// The organization that subscribes.
    pub organization: OrganizationId,
    /// The cache.
    pub cache: CacheId,
    /// What for.
    pub mode: SubscriptionMode,
    /// Since when.
    pub created_at: Moment,
}

/// A cache that an organization subscribes to.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct SubscribedCache {
    /// The cache.
    pub cache: CacheId,
    /// Its name.
    pub name: CacheName,
    /// What people read.
    pub display_name: DisplayName,
    /// What for.
    pub mode: SubscriptionMode,
}

/// Adds a subscription; `AlreadyExists` when there is one.
pub async fn insert(conn: &mut Conn, subscription: &Subscription) -> Result<(), StorageError> {
    query!(conn, |c| {
        let insert = diesel::insert_into(subscriptions::table).values(subscription);
        insert.execute(c).await.map_err(naming("subscription"))?
    });
    Ok(())
}

/// Removes a subscription.
pub async fn delete(conn: &mut Conn, organization: OrganizationId, cache: CacheId) -> Result<(), StorageError> {
    let rows = query!(conn, |c| diesel::delete(subscriptions::table.find((organization, cache))).execute(c).await?);
    hit(rows, "subscription", cache)
}

/// The caches that an organization subscribes to, by name.
pub async fn list(conn: &mut Conn, organization: OrganizationId) -> Result<Vec<SubscribedCache>, StorageError> {
    Ok(query!(conn, |c| {
        let all = subscriptions::table.inner_join(caches::table).filter(subscriptions::organization.eq(organization));
        let all = all.filter(caches::deleted_at.is_null()).order(caches::name);
        all.select((caches::id, caches::name, caches::display_name, subscriptions::mode)).load(c).await?
    }))
}

/// The caches that an organization's outputs are published to.
pub async fn writable_caches(conn: &mut Conn, organization: OrganizationId) -> Result<Vec<CacheId>, StorageError> {
    let all = list(conn, organization).await?;
    Ok(all.into_iter().filter(|cache| cache.mode.is_writable()).map(|cache| cache.cache).collect())
}

/// The organizations that subscribe to a cache, for whatever.
pub async fn subscribers(conn: &mut Conn, cache: CacheId) -> Result<Vec<OrganizationId>, StorageError> {
    Ok(query!(conn, |c| {
        let all = subscriptions::table.filter(subscriptions::cache.eq(cache));
        all.select(subscriptions::organization).order(subscriptions::organization).load(c).await?
    }))
}

/// The organizations whose members may read a cache because of a subscription.
pub async fn readers(conn: &mut Conn, cache: CacheId) -> Result<Vec<OrganizationId>, StorageError> {
    Ok(query!(conn, |c| {
        let all = subscriptions::table.inner_join(organizations::table).filter(subscriptions::cache.eq(cache));
        let all = all.filter(organizations::deleted_at.is_null());
        let reading = all.filter(subscriptions::mode.ne(SubscriptionMode::WriteOnly));
        reading.select(organizations::id).order(organizations::id).load(c).await?
    }))
}

/// The caches that a user may read because an organization of the user reads them, each with that organization.
pub async fn readable(conn: &mut Conn, user: UserId) -> Result<Vec<(CacheId, OrganizationId)>, StorageError> {
    Ok(query!(conn, |c| {
        let all = subscriptions::table.inner_join(organizations::table.inner_join(organization_members::table));
        let mine = all.filter(organization_members::user.eq(user)).filter(organizations::deleted_at.is_null());
        let reading = mine.filter(subscriptions::mode.ne(SubscriptionMode::WriteOnly));
        reading.select((subscriptions::cache, organizations::id)).load(c).await?
    }))
}
