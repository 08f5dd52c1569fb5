//! Pins: what a cache keeps, whatever its retention is.

use gradient_domain::{CacheId, Moment, UserId, Username};
use gradient_nix::{StorePath, StorePathHash};
use gradient_storage::{
    Conn, cache_paths,
    cache_pins::{self, Pin},
    caches, users,
};

use crate::{Engine, EngineError};

/// A pin as people see it.
#[derive(Debug)]
pub struct PinView {
    /// The hash of the path that it keeps.
    pub hash: StorePathHash,
    /// The path, as long as the cache has it.
    pub path: Option<StorePath>,
    /// Who made it.
    pub created_by: Option<Username>,
    /// When it was made.
    pub created_at: Moment,
}

impl Engine {
    /// The pins of a cache by hash, and how many there are.
    pub async fn cache_pins(&self, cache: CacheId, limit: u32, offset: u32) -> Result<(Vec<PinView>, i64), EngineError> {
        let page = async move |conn: &mut Conn| {
            let (rows, total) = cache_pins::page(conn, cache, limit.into(), offset.into()).await?;
            let makers: Vec<UserId> = rows.iter().filter_map(|(pin, _)| pin.created_by).collect();
            let names = users::usernames(conn, &makers).await?;
            let name = |id: UserId| names.iter().find(|(user, _)| *user == id).map(|(_, name)| name.clone());
            let view = |(pin, path): (Pin, Option<StorePath>)| PinView {
                hash: pin.hash,
                path,
                created_by: pin.created_by.and_then(name),
                created_at: pin.created_at,
            };
            Ok((rows.into_iter().map(view).collect(), total))
        };
        Ok(self.storage().read(page).await?)
    }

    /// Pins a path that the cache has.
    pub async fn pin_path(&self, cache: CacheId, hash: StorePathHash, by: UserId) -> Result<PinView, EngineError> {
        let pin = Pin { cache, hash, created_by: Some(by), created_at: Moment::now() };
        let insert = async move |conn: &mut Conn| {
            // So that it does not go between the two.
            caches::lock(conn, cache).await?;
            let Some(found) = cache_paths::lookup_by_hash(conn, cache, hash).await? else {
                return Err(EngineError::NotFound { what: "path in this cache", name: hash.to_string() });
            };
            cache_pins::insert(conn, &pin).await?;
            let created_by = users::usernames(conn, &[by]).await?.pop().map(|(_, name)| name);
            Ok(PinView { hash, path: Some(found.path), created_by, created_at: pin.created_at })
        };
        self.storage().try_transaction(insert).await
    }

    /// Removes a pin.
    pub async fn unpin_path(&self, cache: CacheId, hash: StorePathHash) -> Result<(), EngineError> {
        Ok(self.storage().write(async move |conn: &mut Conn| cache_pins::delete(conn, cache, hash).await).await?)
    }
}
