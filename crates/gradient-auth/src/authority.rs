//! May this caller do that: one decision for organizations and one for caches, from the caller, the caller's roles and the key.
//!
//! What somebody may not see does not exist for them: [`Decision::Hidden`] is the answer for things that are there and for
//! things that are not. The authority of a request is the role's mask and the key's mask, both.

use gradient_domain::{
    ApiKeyId, BuiltInRole, CacheId, CachePermission, CachePermissions, OrgPermission, OrganizationId, Permissions, SessionId,
    UserId,
};

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Nobody: no credentials came along.
    Anonymous,
    /// A user, proven.
    User(Authenticated),
}

/// A proven user, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authenticated {
    /// Who.
    pub user: UserId,
    /// Whether they run the server. It opens no organization and no cache.
    pub superuser: bool,
    /// What proved it.
    pub via: Via,
}

/// What proved a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A login.
    Session(SessionId),
    /// An API key, which bounds what the request may do.
    ApiKey(KeyAuthority),
}

/// The bounds of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyAuthority {
    /// Which key.
    pub id: ApiKeyId,
    /// What it allows in organizations.
    pub permissions: Permissions,
    /// What it allows on caches.
    pub cache_permissions: CachePermissions,
    /// Where it works.
    pub pin: Pin,
}

/// Where an API key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// Wherever its user may.
    Everywhere,
    /// In one organization, and on caches as far as that organization's subscriptions open them.
    Organization(OrganizationId),
    /// On one cache.
    Cache(CacheId),
}

/// The answer to "may they?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// They may.
    Granted,
    /// They may not even know that it exists.
    Hidden,
    /// They may see it, but not do that.
    Denied,
    /// Somebody else might; nobody in particular is asking.
    Anonymous,
}

/// What decides about an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrganizationAccess {
    /// Which one.
    pub id: OrganizationId,
    /// Whether anybody may see it.
    pub public: bool,
    /// What the caller's role in it allows; `None` for those who are no members.
    pub role: Option<Permissions>,
}

/// What decides about a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheAccess {
    /// Which one.
    pub id: CacheId,
    /// Whether anybody may see and read it.
    pub public: bool,
    /// What the caller's role on it allows; `None` for those who have none.
    pub role: Option<CachePermissions>,
    /// The caller's organizations that are subscribed to it for reading.
    pub through: Vec<OrganizationId>,
}

impl Caller {
    /// The user, when it is one.
    pub const fn user(&self) -> Option<&Authenticated> {
        match self {
            Self::Anonymous => None,
            Self::User(user) => Some(user),
        }
    }
}

impl Authenticated {
    /// The session, when it was a login that proved the user.
    pub const fn session(&self) -> Option<SessionId> {
        match self.via {
            Via::Session(session) => Some(session),
            Via::ApiKey(_) => None,
        }
    }

    /// Where the request may act at all.
    pub const fn pin(&self) -> Pin {
        match self.via {
            Via::Session(_) => Pin::Everywhere,
            Via::ApiKey(key) => key.pin,
        }
    }

    /// Whether the credential lets its user use a permission in organizations at all.
    pub fn carries(&self, permission: OrgPermission) -> bool {
        self.org_mask().contains(permission)
    }

    /// Whether the credential lets its user use a permission on caches at all.
    pub fn carries_on_caches(&self, permission: CachePermission) -> bool {
        self.cache_mask().contains(permission)
    }

    fn org_mask(&self) -> Permissions {
        match self.via {
            Via::Session(_) => Permissions::ALL,
            Via::ApiKey(key) => key.permissions,
        }
    }

    fn cache_mask(&self) -> CachePermissions {
        match self.via {
            Via::Session(_) => CachePermissions::ALL,
            Via::ApiKey(key) => key.cache_permissions,
        }
    }
}

impl OrganizationAccess {
    /// Whether `caller` may do what `needed` allows.
    pub fn decide(&self, caller: &Caller, needed: OrgPermission) -> Decision {
        let open = needed == OrgPermission::ViewOrg && self.public;
        let Caller::User(user) = caller else {
            return if open { Decision::Granted } else { Decision::Anonymous };
        };
        if !self.reached_by(user.pin()) {
            return Decision::Hidden;
        }
        let mask = self.permissions(caller);
        if open || mask.contains(needed) {
            Decision::Granted
        } else if self.public || mask.contains(OrgPermission::ViewOrg) {
            Decision::Denied
        } else {
            Decision::Hidden
        }
    }

    /// Whether `caller` is a member who may look at it: what even a public organization does not show to everybody.
    pub fn decide_member(&self, caller: &Caller) -> Decision {
        match self.decide(caller, OrgPermission::ViewOrg) {
            Decision::Granted if *caller == Caller::Anonymous => Decision::Anonymous,
            Decision::Granted if !self.permissions(caller).contains(OrgPermission::ViewOrg) => Decision::Denied,
            decision => decision,
        }
    }

    /// All that `caller` may do as a member: role and key, both.
    pub fn permissions(&self, caller: &Caller) -> Permissions {
        match (caller, self.role) {
            (Caller::User(user), Some(role)) if self.reached_by(user.pin()) => role & user.org_mask(),
            _ => Permissions::NONE,
        }
    }

    fn reached_by(&self, pin: Pin) -> bool {
        match pin {
            Pin::Everywhere => true,
            Pin::Organization(id) => id == self.id,
            Pin::Cache(_) => false,
        }
    }
}

impl CacheAccess {
    /// Whether `caller` may do what `needed` allows.
    pub fn decide(&self, caller: &Caller, needed: CachePermission) -> Decision {
        let open = self.public && matches!(needed, CachePermission::ViewCache | CachePermission::ReadStore);
        let Caller::User(user) = caller else {
            return if open { Decision::Granted } else { Decision::Anonymous };
        };
        if matches!(user.pin(), Pin::Cache(id) if id != self.id) {
            return Decision::Hidden;
        }
        let mask = self.permissions(caller);
        if open || mask.contains(needed) {
            Decision::Granted
        } else if self.public || mask.contains(CachePermission::ViewCache) {
            Decision::Denied
        } else {
            Decision::Hidden
        }
    }

    /// Whether `caller` is a member who may look at it: what neither a public cache nor a subscription shows.
    pub fn decide_member(&self, caller: &Caller) -> Decision {
        let role = caller.user().and_then(|user| Some(self.role(user.pin())? & user.cache_mask()));
        match self.decide(caller, CachePermission::ViewCache) {
            Decision::Granted if *caller == Caller::Anonymous => Decision::Anonymous,
            Decision::Granted if !role.is_some_and(|role| role.contains(CachePermission::ViewCache)) => Decision::Denied,
            decision => decision,
        }
    }

    /// All that `caller` may do by a role or through a subscription: both the role and the key allow it.
    pub fn permissions(&self, caller: &Caller) -> CachePermissions {
        let Caller::User(user) = caller else { return CachePermissions::NONE };
        let subscribed = match user.pin() {
            Pin::Everywhere => !self.through.is_empty(),
            Pin::Cache(id) => id == self.id && !self.through.is_empty(),
            Pin::Organization(id) => self.through.contains(&id),
        };
        let role = self.role(user.pin());
        let readable = if subscribed { BuiltInRole::View.cache_permissions() } else { CachePermissions::NONE };
        let either = role.into_iter().flat_map(CachePermissions::iter).chain(readable.iter()).collect::<CachePermissions>();
        either & user.cache_mask()
    }

    /// The caller's role, where a credential with this pin carries it.
    fn role(&self, pin: Pin) -> Option<CachePermissions> {
        match pin {
            Pin::Everywhere => self.role,
            Pin::Cache(id) => self.role.filter(|_| id == self.id),
            Pin::Organization(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
