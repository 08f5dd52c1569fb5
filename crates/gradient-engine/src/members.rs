//! Who belongs to an organization or may use a cache, and in which role.

use gradient_domain::{BuiltInRole, CacheId, Moment, OrganizationId, RoleId, RoleName, RoleScope, UserId, Username};
use gradient_storage::{
    Conn, StorageError, caches, organizations,
    roles::{self, Role, RoleOwner},
    users,
};

use crate::{Engine, EngineError};

/// What somebody is a member of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// An organization.
    Organization(OrganizationId),
    /// A cache.
    Cache(CacheId),
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The login name.
    pub username: Username,
    /// The role's name.
    pub role: RoleName,
}

impl Engine {
    /// The members, by name.
    pub async fn members(&self, of: Membership) -> Result<Vec<Member>, EngineError> {
        let list = async move |conn: &mut Conn| {
            Ok(match of {
                Membership::Organization(id) => {
                    let all = organizations::members(conn, id).await?.into_iter();
                    all.map(|member| Member { username: member.username, role: member.role_name }).collect()
                }
                Membership::Cache(id) => {
                    let all = caches::members(conn, id).await?.into_iter();
                    all.map(|member| Member { username: member.username, role: member.role_name }).collect()
                }
            })
        };
        Ok(self.storage().read(list).await?)
    }

    /// Adds a member.
    pub async fn add_member(&self, of: Membership, username: String, role: String) -> Result<(), EngineError> {
        let now = Moment::now();
        let add = async move |conn: &mut Conn| {
            let (user, role) = (user(conn, &username).await?, role_named(conn, of, &role).await?);
            match of {
                Membership::Organization(id) => organizations::insert_member(conn, id, user, role.id, now).await,
                Membership::Cache(id) => caches::insert_member(conn, id, user, role.id, now).await,
            }
            .map_err(gone_meanwhile)
        };
        self.storage().try_transaction(add).await
    }

    /// Gives a member another role. The last Admin stays one.
    pub async fn change_member(&self, of: Membership, username: String, role: String) -> Result<(), EngineError> {
        let change = async move |conn: &mut Conn| {
            let (user, role) = (user(conn, &username).await?, role_named(conn, of, &role).await?);
            if role.id != admin_of(of) {
                keep_an_admin(conn, of, user).await?;
            }
            match of {
                Membership::Organization(id) => organizations::set_member_role(conn, id, user, role.id).await,
                Membership::Cache(id) => caches::set_member_role(conn, id, user, role.id).await,
            }
            .map_err(gone_meanwhile)
        };
        self.storage().try_transaction(change).await
    }

    /// Removes a member. The last Admin stays.
    pub async fn remove_member(&self, of: Membership, username: String) -> Result<(), EngineError> {
        let remove = async move |conn: &mut Conn| {
            let user = user(conn, &username).await?;
            keep_an_admin(conn, of, user).await?;
            match of {
                Membership::Organization(id) => organizations::delete_member(conn, id, user).await?,
                Membership::Cache(id) => caches::delete_member(conn, id, user).await?,
            }
            Ok(())
        };
        self.storage().try_transaction(remove).await
    }
}

pub(crate) fn owner(of: Membership) -> RoleOwner {
    match of {
        Membership::Organization(id) => RoleOwner::Organization(id),
        Membership::Cache(id) => RoleOwner::Cache(id),
    }
}

fn admin_of(of: Membership) -> RoleId {
    let scope = match of {
        Membership::Organization(_) => RoleScope::Organization,
        Membership::Cache(_) => RoleScope::Cache,
    };
    roles::built_in(scope, BuiltInRole::Admin)
}

async fn user(conn: &mut Conn, username: &str) -> Result<UserId, EngineError> {
    let user = users::lookup_by_username(conn, username).await?;
    user.map(|user| user.id).ok_or_else(|| EngineError::NotFound { what: "user", name: username.chars().take(100).collect() })
}

async fn role_named(conn: &mut Conn, of: Membership, name: &str) -> Result<Role, EngineError> {
    let role = roles::lookup_by_name(conn, owner(of), name).await?;
    role.ok_or_else(|| EngineError::Invalid { field: "role", message: format!("there is no role `{name:.100}`") })
}

/// A role or a user can be deleted between its look-up and its use.
fn gone_meanwhile(error: StorageError) -> EngineError {
    match error {
        StorageError::BrokenReference(_) => EngineError::Conflict("the role or the user was deleted meanwhile".to_owned()),
        other => other.into(),
    }
}

/// Decided with the memberships locked: of two Admins who leave at once, one stays.
async fn keep_an_admin(conn: &mut Conn, of: Membership, leaving: UserId) -> Result<(), EngineError> {
    let (role, admins) = match of {
        Membership::Organization(id) => {
            organizations::lock(conn, id).await?;
            let role = organizations::role_of(conn, leaving, id).await?.map(|(role, ..)| role);
            (role, organizations::count_admins(conn, id).await?)
        }
        Membership::Cache(id) => {
            caches::lock(conn, id).await?;
            let role = caches::role_of(conn, leaving, id).await?.map(|(role, ..)| role);
            (role, caches::count_admins(conn, id).await?)
        }
    };
    if role == Some(admin_of(of)) && admins <= 1 {
        Err(EngineError::Conflict("the last Admin has to stay".to_owned()))
    } else {
        Ok(())
    }
}
