//! Caches: made with a signing key of their own, and found with what decides about the caller.

use std::collections::HashMap;

use gradient_auth::{Authenticated, CacheAccess, Caller, Decision, Pin};
use gradient_domain::{BuiltInRole, CacheId, CacheName, CachePermission, DisplayName, Moment, RoleScope, UserId, Username};
use gradient_nix::PublicKey;
use gradient_storage::{
    Conn, StorageError, api_keys,
    cache_keys::{self, CacheKey},
    caches, organizations, roles, subscriptions, users,
};

use crate::{
    Engine, EngineError,
    cache_keys::{NewSigner, Signer, public_key},
};

pub use gradient_storage::caches::{Cache, CacheChanges};

/// A cache that a user makes.
#[derive(Debug)]
pub struct NewCache {
    /// Its name.
    pub name: CacheName,
    /// What people read.
    pub display_name: DisplayName,
    /// What it is about.
    pub description: String,
    /// What Nix goes by when it has several; lower is asked first.
    pub priority: i32,
    /// Whether everybody may read it.
    pub public: bool,
}

/// A cache as a caller finds it.
#[derive(Debug, Clone)]
pub struct FoundCache {
    /// The cache.
    pub cache: Cache,
    /// What decides what the caller may do.
    pub access: CacheAccess,
    /// What its signatures verify with: the newest key.
    pub public_key: PublicKey,
    /// Who has the secret of that key.
    pub signer: Signer,
    /// The name of who made it.
    pub created_by: Option<Username>,
}

impl Engine {
    /// The cache of this name with what decides about the caller. Whether the caller may know of it, `access` says.
    pub async fn find_cache(&self, caller: &Caller, name: CacheName) -> Result<Option<FoundCache>, EngineError> {
        let user = caller.user().map(|user| user.user);
        let find = async move |conn: &mut Conn| match caches::lookup_by_name(conn, &name).await? {
            Some(cache) => found(conn, user, cache).await.map(Some),
            None => Ok(None),
        };
        self.storage().read(find).await?.map(Half::complete).transpose()
    }

    /// The caches that a caller may see, by name, and how many there are. A key that is pinned to one sees that one.
    pub async fn caches(&self, caller: &Caller, limit: u32, offset: u32) -> Result<(Vec<FoundCache>, i64), EngineError> {
        let user = caller.user().map(|user| user.user);
        let pin = caller.user().map_or(Pin::Everywhere, Authenticated::pin);
        if let Pin::Cache(id) = pin {
            let one = self.cache_by_id(caller, id).await?;
            let items: Vec<_> = one.into_iter().filter(|found| sees(&found.access, caller)).collect();
            let total = i64::try_from(items.len()).unwrap_or(i64::MAX);
            return Ok((if offset == 0 { items } else { Vec::new() }, total));
        }
        // Without the permission to look, by role or by key, the caller sees what strangers see.
        let looks = *caller;
        let page = async move |conn: &mut Conn| {
            let seen = match user {
                Some(user) => seen(conn, user, &looks).await?,
                None => Vec::new(),
            };
            let (rows, total) = caches::page(conn, &seen, limit.into(), offset.into()).await?;
            let mut items = Vec::with_capacity(rows.len());
            for cache in rows {
                items.push(found(conn, user, cache).await?);
            }
            Ok((items, total))
        };
        let (items, total) = self.storage().read(page).await?;
        Ok((items.into_iter().map(Half::complete).collect::<Result<_, _>>()?, total))
    }

    async fn cache_by_id(&self, caller: &Caller, id: CacheId) -> Result<Option<FoundCache>, EngineError> {
        let user = caller.user().map(|user| user.user);
        let find = async move |conn: &mut Conn| match caches::lookup(conn, id).await? {
            Some(cache) => found(conn, user, cache).await.map(Some),
            None => Ok(None),
        };
        self.storage().read(find).await?.map(Half::complete).transpose()
    }

    /// Makes a cache with a signing key of its own, named after the server and the cache; its maker becomes Admin.
    pub async fn create_cache(&self, user: UserId, wanted: NewCache) -> Result<CacheId, EngineError> {
        let (id, now) = (CacheId::new(), Moment::now());
        let key = self.new_cache_key(id, &format!("{}-{}", host(&self.settings().serve_url), wanted.name), now)?;
        let cache = Cache {
            id,
            name: wanted.name,
            display_name: wanted.display_name,
            description: wanted.description,
            priority: wanted.priority,
            active: true,
            public: wanted.public,
            created_by: Some(user),
            created_at: now,
            deleted_at: None,
            retention_days: None,
            max_bytes: None,
            pull_through: false,
        };
        let insert = async move |conn: &mut Conn| {
            caches::insert(conn, &cache).await?;
            cache_keys::insert(conn, &key).await?;
            let admin = roles::built_in(RoleScope::Cache, BuiltInRole::Admin);
            caches::insert_member(conn, id, user, admin, now).await
        };
        self.storage().transaction(insert).await?;
        Ok(id)
    }

    /// Changes a cache.
    pub async fn change_cache(&self, cache: &Cache, changes: CacheChanges) -> Result<(), EngineError> {
        self.change_cache_and_signer(cache, changes, None).await
    }

    /// Changes a cache, and who signs for it.
    pub async fn change_cache_and_signer(
        &self,
        cache: &Cache,
        changes: CacheChanges,
        signer: Option<NewSigner>,
    ) -> Result<(), EngineError> {
        let (id, engine, signs_otherwise) = (cache.id, self.clone(), signer.is_some());
        let keeps_other_things = changes.retention_days.is_some() || changes.max_bytes.is_some();
        let change = async move |conn: &mut Conn| {
            caches::set(conn, id, &changes).await?;
            match signer {
                Some(signer) => engine.set_signer(conn, id, signer).await,
                None => Ok(()),
            }
        };
        self.storage().try_transaction(change).await?;
        self.forget_served_cache(&cache.name);
        if signs_otherwise {
            self.signs_otherwise(cache);
        }
        if keeps_other_things {
            self.collected().remove(&id);
            self.something_to_reap().notify_one();
        }
        Ok(())
    }

    /// Hides a cache at once.
    pub async fn delete_cache(&self, cache: &Cache) -> Result<(), EngineError> {
        let (id, now) = (cache.id, Moment::now());
        let delete = async move |conn: &mut Conn| {
            let subscribers = subscriptions::subscribers(conn, id).await?;
            caches::set_deleted(conn, id, now).await?;
            api_keys::delete_of_cache(conn, id).await?;
            Ok(subscribers)
        };
        let subscribers = self.storage().transaction(delete).await?;
        self.forget_served_cache(&cache.name);
        self.something_to_reap().notify_one();
        for organization in subscribers {
            self.tell_of_caches(organization).await?;
        }
        Ok(())
    }
}

/// The host of the URL that clients reach the server by, without its port: what a key's name begins with.
fn host(serve_url: &str) -> String {
    let authority = serve_url.split_once("://").map_or(serve_url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        // A colon would end the key's name.
        Some((address, _)) => address.replace(':', "-"),
        None => authority.split(':').next().unwrap_or_default().to_owned(),
    };
    if host.is_empty() { "localhost".to_owned() } else { host }
}

/// What of a [`FoundCache`] the database says.
struct Half(Cache, CacheAccess, Option<CacheKey>, Option<Username>);

impl Half {
    fn complete(self) -> Result<FoundCache, EngineError> {
        let Self(cache, access, key, created_by) = self;
        let none = || EngineError::Damaged(format!("the cache `{}` has no key", cache.name));
        let key = key.ok_or_else(none)?;
        Ok(FoundCache { public_key: public_key(&key)?, signer: Signer::of(&key), cache, access, created_by })
    }
}

/// The caches that a user may see by a role or through a subscription.
async fn seen(conn: &mut Conn, user: UserId, caller: &Caller) -> Result<Vec<CacheId>, StorageError> {
    let closed = |id| CacheAccess { id, public: false, role: None, through: Vec::new() };
    let mut access: HashMap<CacheId, CacheAccess> = HashMap::new();
    for (id, (.., mask)) in caches::roles_of(conn, user).await? {
        access.entry(id).or_insert_with(|| closed(id)).role = Some(mask);
    }
    for (id, organization) in subscriptions::readable(conn, user).await? {
        access.entry(id).or_insert_with(|| closed(id)).through.push(organization);
    }
    Ok(access.into_values().filter(|access| sees(access, caller)).map(|access| access.id).collect())
}

fn sees(access: &CacheAccess, caller: &Caller) -> bool {
    access.decide(caller, CachePermission::ViewCache) == Decision::Granted
}

async fn found(conn: &mut Conn, user: Option<UserId>, cache: Cache) -> Result<Half, StorageError> {
    let (role, through) = match user {
        Some(user) => {
            let role = caches::role_of(conn, user, cache.id).await?.map(|(_, _, mask)| mask);
            let mine = organizations::ids_of_member(conn, user).await?;
            let readers = subscriptions::readers(conn, cache.id).await?;
            (role, readers.into_iter().filter(|reader| mine.contains(reader)).collect())
        }
        None => (None, Vec::new()),
    };
    let created_by = match cache.created_by {
        Some(id) => users::usernames(conn, &[id]).await?.pop().map(|(_, name)| name),
        None => None,
    };
    let access = CacheAccess { id: cache.id, public: cache.public, role, through };
    let key = cache_keys::active(conn, cache.id).await?.into_iter().next();
    Ok(Half(cache, access, key, created_by))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_after_the_host() {
        assert_eq!(host("https://gradient.example.com"), "gradient.example.com");
        assert_eq!(host("http://127.0.0.1:3000"), "127.0.0.1");
        assert_eq!(host("http://[::1]:3000/path"), "--1");
        assert_eq!(host("http://"), "localhost");
    }
}
