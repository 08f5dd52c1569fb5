//! One type for each permission, so that a handler's signature names what it needs.

use gradient_domain::{CachePermission, OrgPermission};

/// A permission in an organization.
pub(crate) trait Needs: 'static {
    const PERMISSION: OrgPermission;
}

/// A permission on a cache.
pub(crate) trait NeedsCache: 'static {
    const PERMISSION: CachePermission;
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
    CreateProject, DeleteOrg, EditProject, ManageMembers, ManageOrgSettings, ManageSshKey, ManageSubscriptions, ManageWorkers,
    TriggerEvaluation, ViewOrg,
}

permissions! { NeedsCache, CachePermission: DeleteCache, ManageCacheSettings, ViewCache }
