//! The keys that caches sign with. A cache has several while its clients change over from one to the next: then all of them sign.

use gradient_auth::Place;
use gradient_domain::{CacheId, CacheKeyId, Moment};
use gradient_nix::{KeyError, PublicKey, SigningKey};
use gradient_storage::{Conn, cache_keys, caches};
use rand::Rng;

use crate::{Cache, Engine, EngineError};

pub use gradient_storage::cache_keys::CacheKey;

/// How many keys a cache signs with at most: each makes every narinfo longer.
const MAX_KEYS: usize = 4;

/// Who has the secret of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The server.
    Server,
    /// A worker, and never the server.
    Worker,
}

impl Signer {
    /// Who has the secret of this key, as long as it is not retired.
    pub fn of(key: &CacheKey) -> Self {
        if key.secret_key_sealed.is_some() { Self::Server } else { Self::Worker }
    }
}

impl Engine {
    /// The keys that a cache signs with. The first one is that which clients are told of.
    pub async fn cache_keys(&self, cache: CacheId) -> Result<Vec<CacheKey>, EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| cache_keys::active(conn, cache).await).await?)
    }

    /// Makes a new key, which signs beside those that the cache has, and is the one that clients are told of from now on.
    pub async fn add_cache_key(&self, cache: &Cache) -> Result<CacheKey, EngineError> {
        let (id, now, engine) = (cache.id, Moment::now(), self.clone());
        let add = async move |conn: &mut Conn| {
            caches::lock(conn, id).await?;
            if cache_keys::active(conn, id).await?.len() >= MAX_KEYS {
                let message = format!("a cache signs with {MAX_KEYS} keys at most: retire one of them first");
                return Err(EngineError::Conflict(message));
            }
            let key = engine.new_cache_key(id, &free_name(conn, id).await?, now)?;
            cache_keys::insert(conn, &key).await?;
            Ok(key)
        };
        let key = self.storage().try_transaction(add).await?;
        self.forget_served_cache(&cache.name);
        Ok(key)
    }

    /// Ends the use of a key: nothing is signed with it any more, and its secret is gone. A cache keeps one at least.
    pub async fn retire_cache_key(&self, cache: &Cache, key: CacheKeyId) -> Result<(), EngineError> {
        let (id, now) = (cache.id, Moment::now());
        let retire = async move |conn: &mut Conn| {
            caches::lock(conn, id).await?;
            let active = cache_keys::active(conn, id).await?;
            if matches!(active.as_slice(), [last] if last.id == key) {
                let message = "this is the only key that the cache signs with: add another one first".to_owned();
                return Err(EngineError::Conflict(message));
            }
            Ok(cache_keys::set_retired(conn, id, key, now).await?)
        };
        self.storage().try_transaction(retire).await?;
        self.forget_served_cache(&cache.name);
        Ok(())
    }

    /// A key with a fresh secret.
    pub(crate) fn new_cache_key(&self, cache: CacheId, name: &str, now: Moment) -> Result<CacheKey, EngineError> {
        let id = CacheKeyId::new();
        let mut randomness = [0; 32];
        rand::rng().fill_bytes(&mut randomness);
        let key = SigningKey::from_bytes(name, &randomness).map_err(|error| damaged(&error))?;
        let sealed = self.sealer().seal(&key.to_bytes(), signing_key_place(id), &mut rand::rng())?;
        Ok(CacheKey {
            id,
            cache,
            name: key.name().to_owned(),
            public_key: key.public().to_bytes().to_vec(),
            secret_key_sealed: Some(sealed),
            created_at: now,
            primary_since: now,
            retired_at: None,
        })
    }

    /// The secret of a key, when the server has it.
    pub(crate) fn open_cache_key(&self, key: &CacheKey) -> Result<Option<SigningKey>, EngineError> {
        let Some(sealed) = key.secret_key_sealed.as_deref() else { return Ok(None) };
        let damaged = |error: &dyn std::fmt::Display| EngineError::Damaged(format!("the signing key `{}`: {error}", key.name));
        let seed = self.sealer().open(sealed, signing_key_place(key.id)).map_err(|error| damaged(&error))?;
        let seed = seed.expose().as_slice().try_into().map_err(|_| damaged(&"it has not 32 bytes"))?;
        SigningKey::from_bytes(&key.name, seed).map(Some).map_err(|error| damaged(&error))
    }
}

/// What the signatures of a key verify with.
pub fn public_key(key: &CacheKey) -> Result<PublicKey, EngineError> {
    PublicKey::from_bytes(&key.name, &key.public_key).map_err(|error| damaged(&error))
}

/// Where the secret of a key is kept: the 32 bytes of [`SigningKey::to_bytes`], sealed. The first keys were sealed when they were in
/// their cache's row, and had its id, so this is still what all of them are bound to.
pub(crate) fn signing_key_place(id: CacheKeyId) -> Place {
    Place { table: "caches", column: "secret_key_sealed", row: id.uuid() }
}

/// The name of the next key: that of the first one with a number behind a dot, which the name of no cache has.
async fn free_name(conn: &mut Conn, cache: CacheId) -> Result<String, EngineError> {
    let none = || EngineError::Damaged(format!("the cache {cache} never had a key"));
    let first = cache_keys::first_name(conn, cache).await?.ok_or_else(none)?;
    let mut number = cache_keys::count(conn, cache).await? + 1;
    loop {
        let name = format!("{first}.{number}");
        if !cache_keys::is_taken(conn, cache, &name).await? {
            return Ok(name);
        }
        number += 1;
    }
}

fn damaged(error: &KeyError) -> EngineError {
    EngineError::Damaged(error.to_string())
}
