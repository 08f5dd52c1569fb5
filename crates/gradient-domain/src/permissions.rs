//! What a role or an API key allows, as masks over two closed catalogues.

use std::{fmt, ops::BitAnd};

use thiserror::Error;

use crate::vocabulary::vocabulary;

/// A name that is not in the catalogue it was looked up in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no permission")]
pub struct UnknownPermission(pub String);

/// Declares a permission enum's bits and its mask: `permission (bit, mutating)`. Bits are never renumbered, for they are in
/// the database.
macro_rules! mask {
    ($(#[$meta:meta])* $mask:ident of $permission:ident { $($variant:ident = $bit:literal, $mutating:literal;)+ }) => {
        impl $permission {
            /// Its place in the mask.
            pub const fn bit(self) -> u32 {
                match self { $(Self::$variant => $bit),+ }
            }

            /// Whether it lets the holder change something.
            pub const fn is_mutating(self) -> bool {
                match self { $(Self::$variant => $mutating),+ }
            }
        }

        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[cfg_attr(feature = "sql", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
        #[cfg_attr(feature = "sql", diesel(sql_type = diesel::sql_types::BigInt))]
        pub struct $mask(u64);

        impl $mask {
            /// Nothing is allowed.
            pub const NONE: Self = Self(0);
            /// Everything is allowed.
            pub const ALL: Self = Self($(1 << $bit)|+);

            /// Whether `permission` is in it.
            pub const fn contains(self, permission: $permission) -> bool {
                self.0 & (1 << permission.bit()) != 0
            }

            /// Whether all of `other` is in it.
            pub const fn covers(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether nothing is allowed.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Its permissions, in the catalogue's order.
            pub fn iter(self) -> impl Iterator<Item = $permission> {
                $permission::ALL.iter().copied().filter(move |permission| self.contains(*permission))
            }

            /// The names of its permissions, in the catalogue's order.
            pub fn names(self) -> Vec<&'static str> {
                self.iter().map($permission::as_str).collect()
            }

            /// The mask of the named permissions.
            pub fn from_names<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Self, UnknownPermission> {
                names
                    .into_iter()
                    .map(|name| {
                        let name = name.as_ref();
                        name.parse::<$permission>().map_err(|_| UnknownPermission(name.chars().take(100).collect()))
                    })
                    .collect()
            }
        }

        impl FromIterator<$permission> for $mask {
            fn from_iter<I: IntoIterator<Item = $permission>>(permissions: I) -> Self {
                Self(permissions.into_iter().fold(0, |mask, permission| mask | 1 << permission.bit()))
            }
        }

        impl BitAnd for $mask {
            type Output = Self;

            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl fmt::Debug for $mask {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_set().entries(self.iter()).finish()
            }
        }

        /// As the database keeps it.
        impl From<$mask> for i64 {
            fn from(mask: $mask) -> Self {
                mask.0.cast_signed()
            }
        }

        /// Bits that no permission has are dropped.
        impl From<i64> for $mask {
            fn from(bits: i64) -> Self {
                Self(bits.cast_unsigned()) & Self::ALL
            }
        }
    };
}

vocabulary! {
    /// What can be allowed in an organization.
    pub enum OrgPermission: "permission" {
        /// See the organization and all that is in it.
        ViewOrg = "viewOrg",
        /// Change its names, description and visibility.
        ManageOrgSettings = "manageOrgSettings",
        /// Delete it.
        DeleteOrg = "deleteOrg",
        /// Add, change and remove members.
        ManageMembers = "manageMembers",
        /// Make, change and delete roles.
        ManageRoles = "manageRoles",
        /// Connect it to forges and other services.
        ManageIntegrations = "manageIntegrations",
        /// Make, change and delete webhooks.
        ManageWebhooks = "manageWebhooks",
        /// Register and unregister workers.
        ManageWorkers = "manageWorkers",
        /// Subscribe to caches.
        ManageSubscriptions = "manageSubscriptions",
        /// Make a new SSH key.
        ManageSshKey = "manageSshKey",
        /// Create projects.
        CreateProject = "createProject",
        /// Change, delete, enable and disable projects.
        EditProject = "editProject",
        /// Start and abort evaluations and builds.
        TriggerEvaluation = "triggerEvaluation",
    }
}

mask! {
    /// A set of [`OrgPermission`]s.
    Permissions of OrgPermission {
        ViewOrg = 0, false;
        ManageOrgSettings = 1, true;
        DeleteOrg = 2, true;
        ManageMembers = 3, true;
        ManageRoles = 4, true;
        ManageIntegrations = 5, true;
        ManageWebhooks = 6, true;
        ManageWorkers = 7, true;
        ManageSubscriptions = 8, true;
        ManageSshKey = 9, true;
        CreateProject = 10, true;
        EditProject = 11, true;
        TriggerEvaluation = 12, true;
    }
}

vocabulary! {
    /// What can be allowed on a cache.
    pub enum CachePermission: "cache permission" {
        /// See the cache and its settings.
        ViewCache = "viewCache",
        /// Fetch paths from it.
        ReadStore = "readStore",
        /// Upload paths to it.
        WriteStore = "writeStore",
        /// Change its names, priority, visibility and retention.
        ManageCacheSettings = "manageCacheSettings",
        /// Change its signing key.
        ManageCacheKeys = "manageCacheKeys",
        /// Change its upstream caches.
        ManageCacheUpstreams = "manageCacheUpstreams",
        /// Add, change and remove members.
        ManageCacheMembers = "manageCacheMembers",
        /// Make, change and delete roles.
        ManageCacheRoles = "manageCacheRoles",
        /// Let organizations subscribe to it.
        ManageCacheSubscriptions = "manageCacheSubscriptions",
        /// Delete it.
        DeleteCache = "deleteCache",
    }
}

mask! {
    /// A set of [`CachePermission`]s.
    CachePermissions of CachePermission {
        ViewCache = 0, false;
        ReadStore = 1, false;
        WriteStore = 2, true;
        ManageCacheSettings = 3, true;
        ManageCacheKeys = 4, true;
        ManageCacheUpstreams = 5, true;
        ManageCacheMembers = 6, true;
        ManageCacheRoles = 7, true;
        ManageCacheSubscriptions = 8, true;
        DeleteCache = 9, true;
    }
}

vocabulary! {
    /// What a role is a role in.
    pub enum RoleScope: "role scope" {
        /// An organization.
        Organization = "organization",
        /// A cache.
        Cache = "cache",
    }
}

vocabulary! {
    /// The roles that every organization and cache has.
    pub enum BuiltInRole: "built-in role" {
        /// May do everything.
        Admin = "Admin",
        /// May use and change what is in it, but not who may.
        Write = "Write",
        /// May look, and fetch from a cache.
        View = "View",
    }
}

impl BuiltInRole {
    /// What it allows in an organization.
    pub fn permissions(self) -> Permissions {
        match self {
            Self::Admin => Permissions::ALL,
            Self::Write => OrgPermission::ALL.iter().copied().filter(|p| matches!(p.bit(), 0 | 5..=12)).collect(),
            Self::View => [OrgPermission::ViewOrg].into_iter().collect(),
        }
    }

    /// What it allows on a cache.
    pub fn cache_permissions(self) -> CachePermissions {
        use CachePermission::{ReadStore, ViewCache, WriteStore};
        match self {
            Self::Admin => CachePermissions::ALL,
            Self::Write => [ViewCache, ReadStore, WriteStore].into_iter().collect(),
            Self::View => [ViewCache, ReadStore].into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bits_are_what_databases_hold() {
        assert_eq!(i64::from(Permissions::ALL), 0b1_1111_1111_1111);
        assert_eq!(i64::from(BuiltInRole::Write.permissions()), 0b1_1111_1110_0001);
        assert_eq!(i64::from(BuiltInRole::View.permissions()), 1);
        assert_eq!(i64::from(CachePermissions::ALL), 0b11_1111_1111);
        assert_eq!(i64::from(BuiltInRole::Write.cache_permissions()), 0b111);
        assert_eq!(i64::from(BuiltInRole::View.cache_permissions()), 0b11);
        assert_eq!(Permissions::from(-1), Permissions::ALL);
        for (bit, permission) in (0..).zip(OrgPermission::ALL) {
            assert_eq!(permission.bit(), bit, "{permission}");
        }
        for (bit, permission) in (0..).zip(CachePermission::ALL) {
            assert_eq!(permission.bit(), bit, "{permission}");
        }
    }

    #[test]
    fn an_unknown_name_is_told() {
        let mask = Permissions::from_names(["viewOrg", "triggerEvaluation"]).unwrap();
        assert_eq!(mask.names(), ["viewOrg", "triggerEvaluation"]);
        assert_eq!(Permissions::from_names(["viewOrg", "viewCache"]), Err(UnknownPermission("viewCache".to_owned())));
        assert!(CachePermissions::from_names(["ViewCache"]).is_err());
    }

    proptest! {
        #[test]
        fn an_intersection_holds_what_both_hold(a in any::<i64>(), b in any::<i64>()) {
            let (a, b) = (Permissions::from(a), Permissions::from(b));
            for permission in OrgPermission::ALL.iter().copied() {
                prop_assert_eq!((a & b).contains(permission), a.contains(permission) && b.contains(permission));
            }
            prop_assert!(a.covers(a & b) && b.covers(a & b));
        }

        #[test]
        fn names_lead_back_to_the_mask(bits in any::<i64>()) {
            let mask = CachePermissions::from(bits);
            prop_assert_eq!(CachePermissions::from_names(mask.names()), Ok(mask));
            prop_assert_eq!(mask.iter().collect::<CachePermissions>(), mask);
            prop_assert_eq!(CachePermissions::from(i64::from(mask)), mask);
        }
    }
}
