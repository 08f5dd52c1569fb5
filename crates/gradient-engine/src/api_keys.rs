//! API keys of users.

use std::time::Duration;

use gradient_domain::{
    ApiKeyId, ApiKeyName, CacheId, CachePermission, CachePermissions, Moment, OrganizationId, Permissions, Secret,
    UnknownPermission, UserId,
};
use gradient_storage::{
    Conn, Digest,
    api_keys::{self, ApiKey, ApiKeyChanges},
    caches, organizations, users,
};

use crate::{Engine, EngineError};

/// How many keys a user may have.
const MAX_KEYS: i64 = 100;

/// A key that a user wants.
#[derive(Debug)]
pub struct NewApiKey {
    /// What the user calls it.
    pub name: ApiKeyName,
    /// The names of its permissions: an organization's, a cache's, or some of both.
    pub permissions: Vec<String>,
    /// Where it works.
    pub pin: NewPin,
    /// How long it works, in days; for ever when there is nothing.
    pub expires_in_days: Option<u32>,
}

/// Where a new key works. The caller has made sure that the user may see the organization or cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewPin {
    /// Wherever its user may.
    Everywhere,
    /// In this organization.
    Organization(OrganizationId),
    /// On this cache.
    Cache(CacheId),
}

/// What of a key changes.
#[derive(Debug, Default)]
pub struct ApiKeyUpdate {
    /// A new name.
    pub name: Option<ApiKeyName>,
    /// The names of its permissions from now on.
    pub permissions: Option<Vec<String>>,
    /// Another organization, or none.
    pub organization: Option<Option<OrganizationId>>,
}

/// A key as its user sees it again: without the secret.
#[derive(Debug)]
pub struct ApiKeyView {
    /// Its id.
    pub id: ApiKeyId,
    /// What its user calls it.
    pub name: ApiKeyName,
    /// The names of its permissions.
    pub permissions: Vec<&'static str>,
    /// The name of the only organization it works in.
    pub organization: Option<String>,
    /// The name of the only cache it works on.
    pub cache: Option<String>,
    /// When it was made.
    pub created_at: Moment,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Moment>,
    /// When it ends.
    pub expires_at: Option<Moment>,
}

impl Engine {
    /// The keys of a user, by name.
    pub async fn api_keys(&self, user: UserId) -> Result<Vec<ApiKeyView>, EngineError> {
        let list = async move |conn: &mut Conn| {
            let mut views = Vec::new();
            for key in api_keys::list(conn, user).await? {
                let organization = match key.organization {
                    Some(id) => organizations::lookup(conn, id).await?.map(|organization| organization.name.to_string()),
                    None => None,
                };
                let cache = match key.cache {
                    Some(id) => caches::lookup(conn, id).await?.map(|cache| cache.name.to_string()),
                    None => None,
                };
                let mut permissions = key.permissions.names();
                permissions.extend(key.cache_permissions.names());
                let ApiKey { id, name, created_at, last_used_at, expires_at, .. } = key;
                views.push(ApiKeyView { id, name, permissions, organization, cache, created_at, last_used_at, expires_at });
            }
            Ok(views)
        };
        Ok(self.storage().read(list).await?)
    }

    /// Makes a key; the answer is its plain text, which is not kept. A key for a cache needs the permission to manage its members.
    /// `Conflict` when the user has as many as there may be.
    pub async fn create_api_key(&self, user: UserId, wanted: NewApiKey) -> Result<Secret<String>, EngineError> {
        let secret = gradient_auth::ApiKey::generate(&mut rand::rng());
        let (organization, cache) = match wanted.pin {
            NewPin::Everywhere => (None, None),
            NewPin::Organization(id) => (Some(id), None),
            NewPin::Cache(id) => (None, Some(id)),
        };
        let (permissions, cache_permissions) = masks(&wanted.permissions)?;
        if cache.is_some() && !permissions.is_empty() {
            return Err(invalid("a key for a cache takes cache permissions only".to_owned()));
        }
        let now = Moment::now();
        let days = |days: u32| now.plus(Duration::from_secs(u64::from(days) * 86_400));
        let key = ApiKey {
            id: ApiKeyId::new(),
            user,
            name: wanted.name,
            secret_hash: Digest(*secret.hash().as_bytes()),
            permissions,
            cache_permissions,
            organization,
            cache,
            created_at: now,
            last_used_at: None,
            expires_at: wanted.expires_in_days.map(days),
        };
        let insert = async move |conn: &mut Conn| {
            if let Some(cache) = cache {
                let role = caches::role_of(conn, user, cache).await?;
                if !role.is_some_and(|(_, _, mask)| mask.contains(CachePermission::ManageCacheMembers)) {
                    let message = "a key for a cache needs the permission manageCacheMembers there";
                    return Err(EngineError::Forbidden(message.to_owned()));
                }
            }
            // Locked, so that of two that come at once both are counted.
            users::lock(conn, user).await?;
            if api_keys::count(conn, user).await? >= MAX_KEYS {
                let why = format!("you have {MAX_KEYS} API keys, which is as many as a user may have; delete one of them first");
                return Err(EngineError::Conflict(why));
            }
            Ok(api_keys::insert(conn, &key).await?)
        };
        self.storage().try_transaction(insert).await?;
        Ok(Secret::new(secret.expose().to_owned()))
    }

    /// Changes a key of a user.
    pub async fn change_api_key(&self, user: UserId, id: ApiKeyId, update: ApiKeyUpdate) -> Result<(), EngineError> {
        let masks = update.permissions.as_deref().map(masks).transpose()?;
        let changes = ApiKeyChanges {
            name: update.name,
            permissions: masks.map(|(permissions, _)| permissions),
            cache_permissions: masks.map(|(_, permissions)| permissions),
            organization: update.organization,
        };
        let change = async move |conn: &mut Conn| {
            let key = api_keys::lookup(conn, user, id).await?;
            let on_a_cache = key.is_some_and(|key| key.cache.is_some());
            if on_a_cache && changes.permissions.is_some_and(|mask| !mask.is_empty()) {
                return Err(invalid("a key for a cache takes cache permissions only".to_owned()));
            }
            if on_a_cache && matches!(changes.organization, Some(Some(_))) {
                return Err(EngineError::Invalid { field: "organization", message: "the key is for a cache already".to_owned() });
            }
            Ok(api_keys::set(conn, user, id, &changes).await?)
        };
        self.storage().try_transaction(change).await
    }

    /// Removes the key that the user calls so.
    pub async fn delete_api_key(&self, user: UserId, name: ApiKeyName) -> Result<(), EngineError> {
        Ok(self.storage().write(async move |conn: &mut Conn| api_keys::delete_by_name(conn, user, &name).await).await?)
    }
}

/// The masks of a list with names from both catalogues.
fn masks(names: &[String]) -> Result<(Permissions, CachePermissions), EngineError> {
    if names.is_empty() {
        return Err(invalid("at least one is needed".to_owned()));
    }
    let (of_caches, others): (Vec<&String>, Vec<&String>) =
        names.iter().partition(|name| name.parse::<CachePermission>().is_ok());
    let unknown = |error: UnknownPermission| invalid(error.to_string());
    let cache_permissions = CachePermissions::from_names(of_caches).map_err(unknown)?;
    Ok((Permissions::from_names(others).map_err(unknown)?, cache_permissions))
}

fn invalid(message: String) -> EngineError {
    EngineError::Invalid { field: "permissions", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_list_may_mix_both_catalogues() {
        let (permissions, cache_permissions) = masks(&names(&["viewOrg", "readStore", "triggerEvaluation"])).unwrap();
        assert_eq!(permissions.names(), ["viewOrg", "triggerEvaluation"]);
        assert_eq!(cache_permissions.names(), ["readStore"]);
    }

    #[test]
    fn an_unknown_or_missing_name_is_refused() {
        assert_eq!(masks(&names(&["viewOrg", "fly"])).unwrap_err().to_string(), "permissions: `fly` is no permission");
        assert_eq!(masks(&[]).unwrap_err().to_string(), "permissions: at least one is needed");
    }
}
