//! What members may do: the built-in roles, and those that an organization or cache made for itself.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuiltInRole, CacheId, CachePermissions, OrganizationId, Permissions, RoleId, RoleName, RoleScope};

use crate::{
    Conn, StorageError,
    conn::query,
    error::{found, hit, naming},
    schema::roles,
};

/// One role.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = roles, treat_none_as_default_value = false)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// What it is a role in.
    pub scope: RoleScope,
    /// The organization that made it; none for a built-in one.
    pub organization: Option<OrganizationId>,
    /// The cache that made it; none for a built-in one.
    pub cache: Option<CacheId>,
    /// Its name, unique where it is good for.
    pub name: RoleName,
    /// The bits of [`Permissions`] or [`CachePermissions`], as the scope says.
    pub permissions: i64,
}

/// What of a role changes; `None` keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, AsChangeset)]
#[diesel(table_name = roles)]
pub struct RoleChanges {
    /// A new name.
    pub name: Option<RoleName>,
    /// The bits of what it allows from now on.
    pub permissions: Option<i64>,
}

impl Role {
    /// Whether every organization or cache has it.
    pub fn is_built_in(&self) -> bool {
        self.organization.is_none() && self.cache.is_none()
    }

    /// What it allows in an organization; nothing when it is a cache's.
    pub fn permissions(&self) -> Permissions {
        if self.scope == RoleScope::Organization { self.permissions.into() } else { Permissions::NONE }
    }

    /// What it allows on a cache; nothing when it is an organization's.
    pub fn cache_permissions(&self) -> CachePermissions {
        if self.scope == RoleScope::Cache { self.permissions.into() } else { CachePermissions::NONE }
    }
}

/// Where a role is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleOwner {
    /// In this organization.
    Organization(OrganizationId),
    /// On this cache.
    Cache(CacheId),
}

/// The id of a built-in role, the same in every database.
pub fn built_in(scope: RoleScope, role: BuiltInRole) -> RoleId {
    let first: u128 = match scope {
        RoleScope::Organization => 0x0000_0000_0000_7000_8000_0000_0000_0001,
        RoleScope::Cache => 0x0000_0000_0000_7000_8000_0000_0000_0011,
    };
    let number = match role {
        BuiltInRole::Admin => 0,
        BuiltInRole::Write => 1,
        BuiltInRole::View => 2,
    };
    RoleId::from_uuid(uuid::Uuid::from_u128(first + number))
}

/// The role with this id.
pub async fn lookup(conn: &mut Conn, id: RoleId) -> Result<Option<Role>, StorageError> {
    Ok(query!(conn, |c| roles::table.find(id).select(Role::as_select()).first(c).await.optional()?))
}

/// The roles that are good there: the built-in ones first, the others by name.
pub async fn list(conn: &mut Conn, owner: RoleOwner) -> Result<Vec<Role>, StorageError> {
    let mut all: Vec<Role> = query!(conn, |c| {
        let query = roles::table.select(Role::as_select()).into_boxed::<DB>();
        let query = match owner {
            RoleOwner::Organization(id) => query
                .filter(roles::scope.eq(RoleScope::Organization))
                .filter(roles::organization.is_null().or(roles::organization.eq(id))),
            RoleOwner::Cache(id) => {
                query.filter(roles::scope.eq(RoleScope::Cache)).filter(roles::cache.is_null().or(roles::cache.eq(id)))
            }
        };
        query.load(c).await?
    });
    all.sort_by_cached_key(|role| {
        let built_in = if role.is_built_in() { Some(role.id) } else { None };
        (built_in.is_none(), built_in, role.name.clone())
    });
    Ok(all)
}

/// The role of this name that is good there.
pub async fn lookup_by_name(conn: &mut Conn, owner: RoleOwner, name: &str) -> Result<Option<Role>, StorageError> {
    Ok(list(conn, owner).await?.into_iter().find(|role| role.name.as_str() == name))
}

/// Adds a role; `AlreadyExists` when the organization or cache has one of that name.
pub async fn insert(conn: &mut Conn, role: &Role) -> Result<(), StorageError> {
    query!(conn, |c| diesel::insert_into(roles::table).values(role).execute(c).await.map_err(naming("role"))?);
    Ok(())
}

/// Changes a role that is not built in; `AlreadyExists` when the organization or cache has one of the new name.
pub async fn set(conn: &mut Conn, id: RoleId, changes: &RoleChanges) -> Result<(), StorageError> {
    if *changes == RoleChanges::default() {
        return found(lookup(conn, id).await?, "role", id).map(drop);
    }
    let rows = query!(conn, |c| {
        let made = roles::table.find(id).filter(roles::organization.is_not_null().or(roles::cache.is_not_null()));
        diesel::update(made).set(changes).execute(c).await.map_err(naming("role"))?
    });
    hit(rows, "role", id)
}

/// Removes a role that is not built in; `BrokenReference` while somebody has it.
pub async fn delete(conn: &mut Conn, id: RoleId) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let made = roles::table.find(id).filter(roles::organization.is_not_null().or(roles::cache.is_not_null()));
        diesel::delete(made).execute(c).await?
    });
    hit(rows, "role", id)
}
