//! One type for each permission, so that a handler's signature names what it needs.

use gradient_auth::{CacheAccess, Caller, Decision, OrganizationAccess};
use gradient_domain::{CachePermission, OrgPermission};

use crate::openapi::Credentials;

/// A permission in an organization.
pub(crate) trait Needs: 'static {
    const PERMISSION: OrgPermission;

    /// Whether the caller has it there.
    fn decide(access: &OrganizationAccess, caller: &Caller) -> Decision {
        access.decide(caller, Self::PERMISSION)
    }

    /// Whether what is public can be had without credentials.
    fn credentials() -> Credentials {
        if Self::PERMISSION.is_mutating() { Credentials::Required } else { Credentials::Optional }
    }
}

/// Being a member, and not only somebody who sees a public organization.
pub(crate) struct Member;

impl Needs for Member {
    const PERMISSION: OrgPermission = OrgPermission::ViewOrg;

    fn decide(access: &OrganizationAccess, caller: &Caller) -> Decision {
        access.decide_member(caller)
    }

    fn credentials() -> Credentials {
        Credentials::Required
    }
}

/// A permission on a cache.
pub(crate) trait NeedsCache: 'static {
    const PERMISSION: CachePermission;

    /// Whether the caller has it there.
    fn decide(access: &CacheAccess, caller: &Caller) -> Decision {
        access.decide(caller, Self::PERMISSION)
    }

    /// Whether what is public can be had without credentials.
    fn credentials() -> Credentials {
        if Self::PERMISSION.is_mutating() { Credentials::Required } else { Credentials::Optional }
    }
}

/// Being a member of a cache, and not only somebody who reads it.
pub(crate) struct CacheMember;

impl NeedsCache for CacheMember {
    const PERMISSION: CachePermission = CachePermission::ViewCache;

    fn decide(access: &CacheAccess, caller: &Caller) -> Decision {
        access.decide_member(caller)
    }

    fn credentials() -> Credentials {
        Credentials::Required
    }
}

/// Reading a cache. What is in it is unknown to everybody else, as it is where Nix reads it.
pub(crate) struct ReadStore;

impl NeedsCache for ReadStore {
    const PERMISSION: CachePermission = CachePermission::ReadStore;

    fn decide(access: &CacheAccess, caller: &Caller) -> Decision {
        match access.decide(caller, Self::PERMISSION) {
            Decision::Denied => Decision::Hidden,
            decision => decision,
        }
    }
}

macro_rules! permissions {
    ($trait:ident, $kind:ident: $($name:ident),+ $(,)?) => {
        $(
            pub(crate) struct $name;

            impl $trait for $name {
                const PERMISSION: $kind = $kind::$name;
            }
        )+
    };
}

permissions! { Needs, OrgPermission:
    CreateProject, DeleteOrg, EditProject, ManageMembers, ManageOrgSettings, ManageRoles, ManageSshKey, ManageSubscriptions,
    ManageWorkers, TriggerEvaluation, ViewOrg,
}

permissions! { NeedsCache, CachePermission:
    DeleteCache, ManageCacheKeys, ManageCacheMembers, ManageCacheRoles, ManageCacheSettings, ManageCacheUpstreams, ViewCache, WriteStore,
}
