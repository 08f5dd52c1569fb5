//! Who belongs to an organization or may use a cache, and in which role.

use gradient_auth::Caller;
use gradient_domain::{BuiltInRole, CacheId, Moment, OrganizationId, RoleId, RoleName, RoleScope, UserId, Username};
use gradient_storage::{
    Conn, StorageError, caches, organizations,
    roles::{self, Role, RoleOwner},
    users,
};

use crate::{
    Engine, EngineError,
    delegation::{Ceiling, Managed},
};

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

    /// Adds a member. `Forbidden` when the role may do what the caller may not.
    pub async fn add_member(&self, caller: &Caller, of: Membership, username: String, role: String) -> Result<(), EngineError> {
        let (caller, now) = (*caller, Moment::now());
        let add = async move |conn: &mut Conn| {
            let ceiling = Ceiling::lock(conn, of, &caller, Managed::Members).await?;
            let (user, role) = (user(conn, &username).await?, role_named(conn, of, &role).await?);
            ceiling.cover_role(&role)?;
            match of {
                Membership::Organization(id) => organizations::insert_member(conn, id, user, role.id, now).await,
                Membership::Cache(id) => caches::insert_member(conn, id, user, role.id, now).await,
            }
            .map_err(gone_meanwhile)
        };
        self.storage().try_transaction(add).await
    }

    /// Gives a member another role. The last Admin stays one. `Forbidden` when the old or the new role may do what the caller may
    /// not.
    pub async fn change_member(
        &self,
        caller: &Caller,
        of: Membership,
        username: String,
        role: String,
    ) -> Result<(), EngineError> {
        let caller = *caller;
        let change = async move |conn: &mut Conn| {
            let ceiling = Ceiling::lock(conn, of, &caller, Managed::Members).await?;
            let (user, role) = (user(conn, &username).await?, role_named(conn, of, &role).await?);
            let before = role_of(conn, of, user).await?;
            for role in before.iter().chain([&role]) {
                ceiling.cover_role(role)?;
            }
            if role.id != admin_of(of) {
                keep_an_admin(conn, of, before.as_ref()).await?;
            }
            match of {
                Membership::Organization(id) => organizations::set_member_role(conn, id, user, role.id).await,
                Membership::Cache(id) => caches::set_member_role(conn, id, user, role.id).await,
            }
            .map_err(gone_meanwhile)
        };
        self.storage().try_transaction(change).await
    }

    /// Removes a member. The last Admin stays. `Forbidden` when the member may do what the caller may not; everybody may leave.
    pub async fn remove_member(&self, caller: &Caller, of: Membership, username: String) -> Result<(), EngineError> {
        let caller = *caller;
        let remove = async move |conn: &mut Conn| {
            let ceiling = Ceiling::lock(conn, of, &caller, Managed::Members).await?;
            let user = user(conn, &username).await?;
            let role = role_of(conn, of, user).await?;
            if let Some(role) = role.as_ref().filter(|_| caller.user().is_some_and(|caller| caller.user != user)) {
                ceiling.cover_role(role)?;
            }
            keep_an_admin(conn, of, role.as_ref()).await?;
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

/// The role that a user has there.
async fn role_of(conn: &mut Conn, of: Membership, user: UserId) -> Result<Option<Role>, EngineError> {
    let id = match of {
        Membership::Organization(id) => organizations::role_of(conn, user, id).await?.map(|(role, ..)| role),
        Membership::Cache(id) => caches::role_of(conn, user, id).await?.map(|(role, ..)| role),
    };
    match id {
        Some(id) => Ok(roles::lookup(conn, id).await?),
        None => Ok(None),
    }
}

/// Decided with the memberships locked: of two Admins who leave at once, one stays.
async fn keep_an_admin(conn: &mut Conn, of: Membership, leaving: Option<&Role>) -> Result<(), EngineError> {
    if leaving.is_none_or(|role| role.id != admin_of(of)) {
        return Ok(());
    }
    let admins = match of {
        Membership::Organization(id) => organizations::count_admins(conn, id).await?,
        Membership::Cache(id) => caches::count_admins(conn, id).await?,
    };
    if admins <= 1 { Err(EngineError::Conflict("the last Admin has to stay".to_owned())) } else { Ok(()) }
}
