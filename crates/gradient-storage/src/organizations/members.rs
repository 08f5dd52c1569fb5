use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{
    BuiltInRole, Moment, OrganizationId, OrganizationName, Permissions, RoleId, RoleName, RoleScope, UserId, Username,
};

use crate::{
    Conn, StorageError,
    conn::query,
    error::{hit, naming},
    roles::built_in,
    schema::{organization_members, organizations, roles, users},
};

/// One member of an organization.
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
pub async fn members(conn: &mut Conn, organization: OrganizationId) -> Result<Vec<Member>, StorageError> {
    Ok(query!(conn, |c| {
        let all = organization_members::table.inner_join(users::table).inner_join(roles::table);
        let all = all.filter(organization_members::organization.eq(organization)).order(users::username);
        all.select((users::id, users::username, roles::id, roles::name)).load(c).await?
    }))
}

/// Adds a member; `AlreadyExists` when the user is one.
pub async fn insert_member(
    conn: &mut Conn,
    organization: OrganizationId,
    user: UserId,
    role: RoleId,
    now: Moment,
) -> Result<(), StorageError> {
    query!(conn, |c| {
        let row = (
            organization_members::organization.eq(organization),
            organization_members::user.eq(user),
            organization_members::role.eq(role),
            organization_members::created_at.eq(now),
        );
        diesel::insert_into(organization_members::table).values(row).execute(c).await.map_err(naming("member"))?
    });
    Ok(())
}

/// Gives a member another role.
pub async fn set_member_role(
    conn: &mut Conn,
    organization: OrganizationId,
    user: UserId,
    role: RoleId,
) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = organization_members::table.find((organization, user));
        diesel::update(one).set(organization_members::role.eq(role)).execute(c).await?
    });
    hit(rows, "member", user)
}

/// Removes a member.
pub async fn delete_member(conn: &mut Conn, organization: OrganizationId, user: UserId) -> Result<(), StorageError> {
    let rows = query!(conn, |c| diesel::delete(organization_members::table.find((organization, user))).execute(c).await?);
    hit(rows, "member", user)
}

/// The role that a user has in an organization, with what it allows.
pub async fn role_of(
    conn: &mut Conn,
    user: UserId,
    organization: OrganizationId,
) -> Result<Option<(RoleId, RoleName, Permissions)>, StorageError> {
    Ok(query!(conn, |c| {
        let one = organization_members::table.inner_join(roles::table).inner_join(organizations::table);
        let one = one.filter(organization_members::organization.eq(organization));
        let one = one.filter(organization_members::user.eq(user)).filter(organizations::deleted_at.is_null());
        one.select((roles::id, roles::name, roles::permissions)).first(c).await.optional()?
    }))
}

/// The roles that a user has, by organization.
pub async fn roles_of(
    conn: &mut Conn,
    user: UserId,
) -> Result<HashMap<OrganizationId, (RoleId, RoleName, Permissions)>, StorageError> {
    let rows: Vec<(OrganizationId, (RoleId, RoleName, Permissions))> = query!(conn, |c| {
        let mine = organization_members::table.inner_join(roles::table).inner_join(organizations::table);
        let mine = mine.filter(organization_members::user.eq(user)).filter(organizations::deleted_at.is_null());
        mine.select((organizations::id, (roles::id, roles::name, roles::permissions))).load(c).await?
    });
    Ok(rows.into_iter().collect())
}

/// How many members have the built-in role Admin.
pub async fn count_admins(conn: &mut Conn, organization: OrganizationId) -> Result<i64, StorageError> {
    let admin = built_in(RoleScope::Organization, BuiltInRole::Admin);
    Ok(query!(conn, |c| {
        let admins = organization_members::table.filter(organization_members::organization.eq(organization));
        admins.filter(organization_members::role.eq(admin)).count().get_result(c).await?
    }))
}

/// The organizations that a user is an Admin of.
pub async fn administered(conn: &mut Conn, user: UserId) -> Result<Vec<(OrganizationId, OrganizationName)>, StorageError> {
    let admin = built_in(RoleScope::Organization, BuiltInRole::Admin);
    Ok(query!(conn, |c| {
        let mine = organization_members::table.inner_join(organizations::table);
        let mine = mine.filter(organization_members::user.eq(user)).filter(organization_members::role.eq(admin));
        let mine = mine.filter(organizations::deleted_at.is_null()).order(organizations::name);
        mine.select((organizations::id, organizations::name)).load(c).await?
    }))
}
