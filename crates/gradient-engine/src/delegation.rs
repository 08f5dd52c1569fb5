//! How much somebody may hand on: nobody gives, takes away or changes more than they may do themselves.
//!
//! Without this, whoever may manage members or roles could make themselves Admin, and an API key could make its user's friends
//! more than the key may do.

use gradient_auth::{CacheAccess, Caller, OrganizationAccess};
use gradient_domain::{CachePermission, CachePermissions, OrgPermission, Permissions};
use gradient_storage::{Conn, caches, organizations, roles::Role};

use crate::{EngineError, Membership};

/// What is managed of an organization or a cache.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Managed {
    /// Who belongs to it.
    Members,
    /// What members can be.
    Roles,
}

/// What a caller may hand on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ceiling {
    /// In an organization.
    Organization(Permissions),
    /// On a cache.
    Cache(CachePermissions),
}

impl Ceiling {
    /// What the caller may hand on, by role and key, both. Until the end of the transaction nobody else changes a role or a member
    /// there, so it stays true; a right that ended since the request came is noticed.
    pub(crate) async fn lock(conn: &mut Conn, of: Membership, caller: &Caller, managed: Managed) -> Result<Self, EngineError> {
        let user = caller.user().ok_or(EngineError::Unauthorized)?;
        let (ceiling, needed) = match of {
            Membership::Organization(id) => {
                organizations::lock(conn, id).await?;
                let role = organizations::role_of(conn, user.user, id).await?.map(|(.., mask)| mask);
                let role = role.map(|mask| if user.superuser { Permissions::ALL } else { mask });
                let access = OrganizationAccess { id, public: false, role };
                let needed = match managed {
                    Managed::Members => OrgPermission::ManageMembers,
                    Managed::Roles => OrgPermission::ManageRoles,
                };
                (Self::Organization(access.permissions(caller)), 1 << needed.bit())
            }
            Membership::Cache(id) => {
                caches::lock(conn, id).await?;
                let role = caches::role_of(conn, user.user, id).await?.map(|(.., mask)| mask);
                let role = role.map(|mask| if user.superuser { CachePermissions::ALL } else { mask });
                let access = CacheAccess { id, public: false, role, through: Vec::new() };
                let needed = match managed {
                    Managed::Members => CachePermission::ManageCacheMembers,
                    Managed::Roles => CachePermission::ManageCacheRoles,
                };
                (Self::Cache(access.permissions(caller)), 1 << needed.bit())
            }
        };
        ceiling.cover(needed)?;
        Ok(ceiling)
    }

    /// Makes sure that a role's permissions are all the caller's own.
    pub(crate) fn cover_role(self, role: &Role) -> Result<(), EngineError> {
        self.cover(role.permissions)
    }

    /// Makes sure that all of these permissions, as bits, are the caller's own.
    pub(crate) fn cover(self, bits: i64) -> Result<(), EngineError> {
        let missing = match self {
            Self::Organization(own) => {
                let missing = Permissions::from(bits).iter().find(|permission| !own.contains(*permission));
                missing.map(OrgPermission::as_str)
            }
            Self::Cache(own) => {
                let missing = CachePermissions::from(bits).iter().find(|permission| !own.contains(*permission));
                missing.map(CachePermission::as_str)
            }
        };
        missing.map_or(Ok(()), |missing| {
            let why = format!("you cannot give, change or take away `{missing}` here: it is not yours, by role and API key");
            Err(EngineError::Forbidden(why))
        })
    }
}
