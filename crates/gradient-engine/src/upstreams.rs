//! The upstreams of caches: where a cache looks for what it does not have. How it looks is in `substituter/upstream.rs`.

use std::time::Duration;

use gradient_auth::{Caller, Decision};
use gradient_domain::{CacheId, CacheName, CachePermission, CacheUpstreamId, CacheUrl, DisplayName, Moment, is_public_address};
use gradient_nix::PublicKey;
use gradient_storage::{
    Conn,
    caches::{self, Upstream, UpstreamChanges},
};

use crate::{Engine, EngineError, FoundCache};

/// How many upstreams a cache has at most: each of them is asked for whatever the cache does not have.
const MAX_UPSTREAMS: usize = 16;

/// How long a new upstream's host may take to be looked up.
const LOOK_UP: Duration = Duration::from_secs(2);

/// Where to look.
#[derive(Debug, Clone)]
pub enum UpstreamPlace {
    /// In a cache elsewhere, whose answers count when this key has signed them.
    Elsewhere(CacheUrl, Box<PublicKey>),
    /// In another cache of this server, which the caller may read.
    Cache(CacheId),
}

/// What of an upstream changes; `None` keeps.
#[derive(Debug, Default)]
pub struct UpstreamUpdate {
    /// A new name to read.
    pub display_name: Option<DisplayName>,
    /// Another URL, for one that is elsewhere.
    pub url: Option<CacheUrl>,
    /// Another key, for one that is elsewhere.
    pub public_key: Option<PublicKey>,
    /// Another cache of this server, for one that is one.
    pub cache: Option<CacheId>,
}

/// An upstream as people see it.
#[derive(Debug)]
pub struct UpstreamView {
    /// The upstream.
    pub upstream: Upstream,
    /// The name of the cache of this server that it is.
    pub cache: Option<CacheName>,
}

impl Engine {
    /// The upstreams of a cache in the order they were added. One that is a cache of this server is shown to those who may see
    /// that cache, and to those who manage the upstreams.
    pub async fn upstreams(&self, of: &FoundCache, caller: &Caller) -> Result<Vec<UpstreamView>, EngineError> {
        let id = of.cache.id;
        let all = self.storage().read(async move |conn: &mut Conn| caches::upstreams(conn, id).await).await?;
        let manages = of.access.decide(caller, CachePermission::ManageCacheUpstreams) == Decision::Granted;
        let mut shown = Vec::with_capacity(all.len());
        for (upstream, cache) in all {
            let is_shown = match &cache {
                Some(name) if !manages => {
                    let found = self.find_cache(caller, name.clone()).await?;
                    found.is_some_and(|found| found.access.decide(caller, CachePermission::ViewCache) == Decision::Granted)
                }
                Some(_) | None => true,
            };
            if is_shown {
                shown.push(UpstreamView { upstream, cache });
            }
        }
        Ok(shown)
    }

    /// Adds an upstream. `AlreadyExists` when the cache has it, `Conflict` when it would make a circle.
    pub async fn add_upstream(
        &self,
        of: &FoundCache,
        display_name: DisplayName,
        place: UpstreamPlace,
    ) -> Result<CacheUpstreamId, EngineError> {
        let (id, cache) = (CacheUpstreamId::new(), of.cache.id);
        let (url, public_key, upstream) = match place {
            UpstreamPlace::Elsewhere(url, key) => {
                self.check_url(&url).await?;
                (Some(url.to_string()), Some(key.to_string()), None)
            }
            UpstreamPlace::Cache(id) => (None, None, Some(id)),
        };
        let row = Upstream { id, cache, display_name, url, public_key, upstream, created_at: Moment::now() };
        let insert = async move |conn: &mut Conn| {
            check_circle(conn, cache, upstream).await?;
            if caches::upstreams(conn, cache).await?.len() >= MAX_UPSTREAMS {
                return Err(EngineError::Conflict(format!("a cache has {MAX_UPSTREAMS} upstreams at most")));
            }
            Ok(caches::insert_upstream(conn, &row).await?)
        };
        self.storage().try_transaction(insert).await?;
        self.forget_served_cache(&of.cache.name);
        Ok(id)
    }

    /// Changes an upstream. One that is elsewhere stays elsewhere.
    pub async fn change_upstream(&self, of: &FoundCache, id: CacheUpstreamId, update: UpstreamUpdate) -> Result<(), EngineError> {
        if let Some(url) = &update.url {
            self.check_url(url).await?;
        }
        let cache = of.cache.id;
        let changes = UpstreamChanges {
            display_name: update.display_name,
            url: update.url.map(|url| url.to_string()),
            public_key: update.public_key.map(|key| key.to_string()),
            upstream: update.cache,
        };
        let change = async move |conn: &mut Conn| {
            check_circle(conn, cache, changes.upstream).await?;
            let is_elsewhere = caches::find_upstream(conn, cache, id).await?.upstream.is_none();
            if is_elsewhere && changes.upstream.is_some() {
                return invalid("cache", "this upstream is elsewhere: it has a URL and a public key");
            }
            if !is_elsewhere && (changes.url.is_some() || changes.public_key.is_some()) {
                return invalid("url", "this upstream is a cache of this server: it has no URL and no public key of its own");
            }
            Ok(caches::set_upstream(conn, cache, id, &changes).await?)
        };
        self.storage().try_transaction(change).await?;
        self.forget_served_cache(&of.cache.name);
        Ok(())
    }

    /// Removes an upstream.
    pub async fn delete_upstream(&self, of: &FoundCache, id: CacheUpstreamId) -> Result<(), EngineError> {
        let cache = of.cache.id;
        self.storage().write(async move |conn: &mut Conn| caches::delete_upstream(conn, cache, id).await).await?;
        self.forget_served_cache(&of.cache.name);
        Ok(())
    }

    /// Refuses what leads back to this server or into its network. A host that cannot be looked up now is taken: its addresses
    /// are looked at whenever it is asked.
    async fn check_url(&self, url: &CacheUrl) -> Result<(), EngineError> {
        if format!("{url}/").starts_with(&format!("{}/", self.settings().serve_url)) {
            return invalid("url", "this is a cache of this server: name it as `cache`");
        }
        if self.settings().allow_local_repositories {
            return Ok(());
        }
        let look_up = tokio::net::lookup_host((url.host(), url.port()));
        let Ok(Ok(mut addresses)) = tokio::time::timeout(LOOK_UP, look_up).await else { return Ok(()) };
        match addresses.find(|address| !is_public_address(address.ip())) {
            Some(_) => invalid("url", "the host is on this machine or in a private network, which is not allowed"),
            None => Ok(()),
        }
    }
}

/// Makes sure that no cache looks into itself, by whatever way, until the transaction ends.
async fn check_circle(conn: &mut Conn, cache: CacheId, upstream: Option<CacheId>) -> Result<(), EngineError> {
    let mut changed = vec![cache];
    changed.extend(upstream);
    // In one order, so that no two wait for each other.
    changed.sort();
    for id in changed {
        caches::lock(conn, id).await?;
    }
    let Some(upstream) = upstream else { return Ok(()) };
    let links = caches::upstream_links(conn).await?;
    let (mut seen, mut next) = (vec![upstream], 0);
    while let Some(current) = seen.get(next).copied() {
        if current == cache {
            return Err(EngineError::Conflict("the cache would look into itself".to_owned()));
        }
        let further = links.iter().filter(|(from, to)| *from == current && !seen.contains(to)).map(|(_, to)| *to);
        let further: Vec<_> = further.collect();
        seen.extend(further);
        next += 1;
    }
    Ok(())
}

fn invalid<T>(field: &'static str, message: &str) -> Result<T, EngineError> {
    Err(EngineError::Invalid { field, message: message.to_owned() })
}
