//! What members may do: the built-in roles, and those that an organization or a cache makes for itself.
//!
//! A role is read with each request, so a change takes effect at once.

use gradient_auth::Caller;
use gradient_domain::{BuiltInRole, CachePermissions, Permissions, RoleId, RoleName, RoleScope, UnknownPermission};
use gradient_storage::{
    Conn, StorageError,
    roles::{self, Role, RoleChanges, RoleOwner},
};

use crate::{
    Engine, EngineError, Membership,
    delegation::{Ceiling, Managed},
    members::owner,
};

/// A role that members can have.
#[derive(Debug, Clone)]
pub struct RoleView {
    /// Its id.
    pub id: RoleId,
    /// Its name.
    pub name: RoleName,
    /// The names of what it allows.
    pub permissions: Vec<&'static str>,
    /// Whether it is everywhere, and cannot be changed.
    pub built_in: bool,
}

/// A role that an organization or a cache wants.
#[derive(Debug)]
pub struct NewRole {
    /// Its name.
    pub name: RoleName,
    /// The names of what it allows.
    pub permissions: Vec<String>,
}

/// What of a role changes.
#[derive(Debug, Default)]
pub struct RoleUpdate {
    /// A new name.
    pub name: Option<RoleName>,
    /// The names of what it allows from now on.
    pub permissions: Option<Vec<String>>,
}

impl Engine {
    /// The roles that members can have: the built-in ones first.
    pub async fn roles(&self, of: Membership) -> Result<Vec<RoleView>, EngineError> {
        let all = self.storage().read(async move |conn: &mut Conn| roles::list(conn, owner(of)).await).await?;
        Ok(all.into_iter().map(view).collect())
    }

    /// Makes a role. `AlreadyExists` when the name is taken, be it by a built-in one; `Forbidden` when it is to allow what the
    /// caller may not do.
    pub async fn create_role(&self, caller: &Caller, of: Membership, wanted: NewRole) -> Result<RoleId, EngineError> {
        let permissions = mask(of, &wanted.permissions)?;
        free_of_built_in(&wanted.name)?;
        let (scope, organization, cache) = match of {
            Membership::Organization(id) => (RoleScope::Organization, Some(id), None),
            Membership::Cache(id) => (RoleScope::Cache, None, Some(id)),
        };
        let role = Role { id: RoleId::new(), scope, organization, cache, name: wanted.name, permissions };
        let (id, caller) = (role.id, *caller);
        let create = async move |conn: &mut Conn| {
            Ceiling::lock(conn, of, &caller, Managed::Roles).await?.cover_role(&role)?;
            Ok(roles::insert(conn, &role).await?)
        };
        self.storage().try_transaction::<_, EngineError, _>(create).await?;
        Ok(id)
    }

    /// Changes a role. `Forbidden` for a built-in one, and when it allows, or is to allow, what the caller may not do.
    pub async fn change_role(&self, caller: &Caller, of: Membership, id: RoleId, update: RoleUpdate) -> Result<(), EngineError> {
        let permissions = update.permissions.map(|names| mask(of, &names)).transpose()?;
        update.name.as_ref().map_or(Ok(()), free_of_built_in)?;
        let changes = RoleChanges { name: update.name, permissions };
        let caller = *caller;
        let change = async move |conn: &mut Conn| {
            let ceiling = Ceiling::lock(conn, of, &caller, Managed::Roles).await?;
            ceiling.cover_role(&find_own(conn, of, id).await?)?;
            ceiling.cover(permissions.unwrap_or_default())?;
            Ok(roles::set(conn, id, &changes).await?)
        };
        self.storage().try_transaction(change).await
    }

    /// Deletes a role. `Forbidden` for a built-in one and when it allows what the caller may not do, `Invalid` while a member has
    /// it.
    pub async fn delete_role(&self, caller: &Caller, of: Membership, id: RoleId) -> Result<(), EngineError> {
        let caller = *caller;
        let delete = async move |conn: &mut Conn| {
            let ceiling = Ceiling::lock(conn, of, &caller, Managed::Roles).await?;
            ceiling.cover_role(&find_own(conn, of, id).await?)?;
            roles::delete(conn, id).await.map_err(|error| match error {
                StorageError::BrokenReference(_) => {
                    let message = "members have it; give them another one first".to_owned();
                    EngineError::Invalid { field: "role", message }
                }
                other => other.into(),
            })
        };
        self.storage().try_transaction(delete).await
    }
}

fn view(role: Role) -> RoleView {
    let permissions = match role.scope {
        RoleScope::Organization => role.permissions().names(),
        RoleScope::Cache => role.cache_permissions().names(),
    };
    RoleView { id: role.id, built_in: role.is_built_in(), name: role.name, permissions }
}

/// A role that belongs there and may be changed; one that belongs elsewhere is not there.
async fn find_own(conn: &mut Conn, of: Membership, id: RoleId) -> Result<Role, EngineError> {
    let scope = match of {
        Membership::Organization(_) => RoleScope::Organization,
        Membership::Cache(_) => RoleScope::Cache,
    };
    let there = |role: &Role| match owner(of) {
        RoleOwner::Organization(id) => role.organization == Some(id),
        RoleOwner::Cache(id) => role.cache == Some(id),
    };
    match roles::lookup(conn, id).await? {
        Some(role) if role.is_built_in() && role.scope == scope => {
            Err(EngineError::Forbidden(format!("the role `{}` is built in and stays as it is", role.name)))
        }
        Some(role) if there(&role) => Ok(role),
        Some(_) | None => Err(EngineError::NotFound { what: "role", name: id.to_string() }),
    }
}

/// The bits of the named permissions of an organization or a cache.
fn mask(of: Membership, names: &[String]) -> Result<i64, EngineError> {
    let bits = match of {
        Membership::Organization(_) => Permissions::from_names(names).map(i64::from),
        Membership::Cache(_) => CachePermissions::from_names(names).map(i64::from),
    };
    bits.map_err(|error: UnknownPermission| EngineError::Invalid { field: "permissions", message: error.to_string() })
}

fn free_of_built_in(name: &RoleName) -> Result<(), EngineError> {
    if name.as_str().parse::<BuiltInRole>().is_ok() {
        Err(EngineError::AlreadyExists { what: "role", name: name.to_string() })
    } else {
        Ok(())
    }
}
