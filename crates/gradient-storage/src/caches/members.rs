use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuiltInRole, CacheId, CacheName, CachePermissions, Moment, RoleId, RoleName, RoleScope, UserId, Username};

use crate::{
    Conn, StorageError,
    conn::query,
    error::{hit, naming},
    roles::built_in,
    schema::{cache_members, caches, roles, users},
};

/// One member of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Its login name.
    pub username: Username,
    /// Its role.
    pub role: RoleId,
    /// The role's name.
    pub role_name: RoleName,
}

/// The members, by name.
pub async fn members(conn: &mut Conn, cache: CacheId) -> Result<Vec<Member>, StorageError> {
    Ok(query!(conn, |c| {
        let all = cache_members::table.inner_join(users::table).inner_join(roles::table);
        let all = all.filter(cache_members::cache.eq(cache)).order(users::username);
        all.select((users::id, users::username, roles::id, roles::name)).load(c).await?
    }))
}

/// Adds a member; `AlreadyExists` when the user is one.
pub async fn insert_member(conn: &mut Conn, cache: CacheId, user: UserId, role: RoleId, now: Moment) -> Result<(), StorageError> {
    query!(conn, |c| {
        let row = (
            cache_members::cache.eq(cache),
            cache_members::user.eq(user),
            cache_members::role.eq(role),
            cache_members::created_at.eq(now),
        );
        diesel::insert_into(cache_members::table).values(row).execute(c).await.map_err(naming("member"))?
    });
    Ok(())
}

/// Gives a member another role.
pub async fn set_member_role(conn: &mut Conn, cache: CacheId, user: UserId, role: RoleId) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = cache_members::table.find((cache, user));
        diesel::update(one).set(cache_members::role.eq(role)).execute(c).await?
    });
    hit(rows, "member", user)
}

/// Removes a member.
pub async fn delete_member(conn: &mut Conn, cache: CacheId, user: UserId) -> Result<(), StorageError> {
    let rows = query!(conn, |c| diesel::delete(cache_members::table.find((cache, user))).execute(c).await?);
    hit(rows, "member", user)
}

/// The role that a user has in a cache, with what it allows.
pub async fn role_of(
    conn: &mut Conn,
    user: UserId,
    cache: CacheId,
) -> Result<Option<(RoleId, RoleName, CachePermissions)>, StorageError> {
    Ok(query!(conn, |c| {
        let one = cache_members::table.inner_join(roles::table).inner_join(caches::table);
        let one = one.filter(cache_members::cache.eq(cache));
        let one = one.filter(cache_members::user.eq(user)).filter(caches::deleted_at.is_null());
        one.select((roles::id, roles::name, roles::permissions)).first(c).await.optional()?
    }))
}

/// The roles that a user has, by cache.
pub async fn roles_of(
    conn: &mut Conn,
    user: UserId,
) -> Result<HashMap<CacheId, (RoleId, RoleName, CachePermissions)>, StorageError> {
    let rows: Vec<(CacheId, (RoleId, RoleName, CachePermissions))> = query!(conn, |c| {
        let mine = cache_members::table.inner_join(roles::table).inner_join(caches::table);
        let mine = mine.filter(cache_members::user.eq(user)).filter(caches::deleted_at.is_null());
        mine.select((caches::id, (roles::id, roles::name, roles::permissions))).load(c).await?
    });
    Ok(rows.into_iter().collect())
}

/// How many members have the built-in role Admin.
pub async fn count_admins(conn: &mut Conn, cache: CacheId) -> Result<i64, StorageError> {
    let admin = built_in(RoleScope::Cache, BuiltInRole::Admin);
    Ok(query!(conn, |c| {
        let admins = cache_members::table.filter(cache_members::cache.eq(cache));
        admins.filter(cache_members::role.eq(admin)).count().get_result(c).await?
    }))
}

/// The caches that a user is an Admin of.
pub async fn administered(conn: &mut Conn, user: UserId) -> Result<Vec<(CacheId, CacheName)>, StorageError> {
    let admin = built_in(RoleScope::Cache, BuiltInRole::Admin);
    Ok(query!(conn, |c| {
        let mine = cache_members::table.inner_join(caches::table);
        let mine = mine.filter(cache_members::user.eq(user)).filter(cache_members::role.eq(admin));
        let mine = mine.filter(caches::deleted_at.is_null()).order(caches::name);
        mine.select((caches::id, caches::name)).load(c).await?
    }))
}
