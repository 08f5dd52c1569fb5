//! The keys that caches sign with. A cache has several while its clients change over from one to the next: then all of them sign.

use gradient_auth::Place;
use gradient_domain::{CacheId, CacheKeyId, Moment, OrganizationId};
use gradient_nix::{KeyError, PublicKey, SigningKey};
use gradient_storage::{
    Conn, cache_keys,
    cache_signatures::{self, Wanted},
    caches,
};
use rand::Rng;

use crate::{Cache, Engine, EngineError, SigningWait};

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

/// A key as people see it.
#[derive(Debug)]
pub struct CacheKeyView {
    /// The key.
    pub key: CacheKey,
    /// How much it is still to sign, when a worker holds it.
    pub wanted: Wanted,
    /// Why it has not yet, when it is to.
    pub wait: Option<SigningWait>,
}

/// A key that workers have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerKey {
    /// What its signatures verify with.
    pub public: PublicKey,
    /// Whose workers sign with it. They see the names of all that the cache has, and whoever trusts the key trusts the cache, so
    /// those who manage the keys of the cache and those who manage the workers have to agree.
    pub organization: OrganizationId,
}

/// Who is to sign from now on, and with which key.
#[derive(Debug, Clone)]
pub enum NewSigner {
    /// The server, with a key that it has or makes.
    Server,
    /// A worker: with this key, or with the newest that the cache has of a worker already.
    Worker(Option<Box<WorkerKey>>),
}

impl NewSigner {
    /// Whether this is the key to sign with.
    fn is_met_by(&self, key: &CacheKey) -> Result<bool, EngineError> {
        Ok(match (self, Signer::of(key)) {
            (Self::Server, Signer::Server) => true,
            (Self::Worker(None), Signer::Worker) => key.organization.is_some(),
            (Self::Worker(Some(wanted)), Signer::Worker) => {
                key.organization == Some(wanted.organization) && public_key(key)? == wanted.public
            }
            (Self::Server, Signer::Worker) | (Self::Worker(_), Signer::Server) => false,
        })
    }
}

impl Engine {
    /// The keys that a cache signs with. The first one is that which clients are told of.
    pub async fn cache_keys(&self, cache: CacheId) -> Result<Vec<CacheKeyView>, EngineError> {
        let find = async move |conn: &mut Conn| {
            let mut found = Vec::new();
            for key in cache_keys::active(conn, cache).await? {
                let wanted = cache_signatures::wanted(conn, &key).await?;
                found.push((key, wanted));
            }
            Ok(found)
        };
        let mut views = Vec::new();
        for (key, wanted) in self.storage().read(find).await? {
            let wait = if wanted.paths > 0 { Some(self.signing_wait(&key)?) } else { None };
            views.push(CacheKeyView { key, wanted, wait });
        }
        Ok(views)
    }

    /// Adds a key, which signs beside those that the cache has, and is the one that clients are told of from now on: one that the
    /// server makes, or this one of a worker.
    pub async fn add_cache_key(&self, cache: &Cache, of_worker: Option<WorkerKey>) -> Result<CacheKey, EngineError> {
        let (id, now, engine) = (cache.id, Moment::now(), self.clone());
        let add = async move |conn: &mut Conn| {
            caches::lock(conn, id).await?;
            engine.insert_cache_key(conn, id, of_worker, now).await
        };
        let key = self.storage().try_transaction(add).await?;
        self.signs_otherwise(cache);
        Ok(key)
    }

    /// Lets a cache be signed otherwise from now on. The keys that it has go on to sign until they are retired.
    pub(crate) async fn set_signer(&self, conn: &mut Conn, cache: CacheId, signer: NewSigner) -> Result<(), EngineError> {
        caches::lock(conn, cache).await?;
        let (active, now) = (cache_keys::active(conn, cache).await?, Moment::now());
        for (place, key) in active.iter().enumerate() {
            if !signer.is_met_by(key)? {
                continue;
            }
            if place > 0 {
                cache_keys::set_primary(conn, cache, key.id, now).await?;
            }
            if Signer::of(key) == Signer::Server {
                cache_signatures::release(conn, cache).await?;
            }
            return Ok(());
        }
        let of_worker = match signer {
            NewSigner::Server => None,
            NewSigner::Worker(Some(key)) => Some(*key),
            NewSigner::Worker(None) => {
                let message =
                    "with `signing: worker`, the public key of the key that workers have is needed, and their organization"
                        .to_owned();
                return Err(EngineError::Invalid { field: "public_key", message });
            }
        };
        self.insert_cache_key(conn, cache, of_worker, now).await.map(drop)
    }

    async fn insert_cache_key(
        &self,
        conn: &mut Conn,
        cache: CacheId,
        of_worker: Option<WorkerKey>,
        now: Moment,
    ) -> Result<CacheKey, EngineError> {
        if cache_keys::active(conn, cache).await?.len() >= MAX_KEYS {
            let message = format!("a cache signs with {MAX_KEYS} keys at most: retire one of them first");
            return Err(EngineError::Conflict(message));
        }
        let key = match of_worker {
            None => self.new_cache_key(cache, &free_name(conn, cache).await?, now)?,
            Some(key) => worker_key(cache, &key, now),
        };
        match cache_keys::named(conn, cache, &key.name).await? {
            None => cache_keys::insert(conn, &key).await?,
            // Nothing was lost when it was retired: its workers still have it.
            Some(old) if old.public_key == key.public_key && old.retired_at.is_some() && key.organization.is_some() => {
                let again = CacheKey { id: old.id, created_at: old.created_at, ..key };
                cache_keys::set_active(conn, &again).await?;
                return Ok(again);
            }
            Some(old) if old.public_key == key.public_key => {
                let message = format!("the cache has the key `{}` already", key.name);
                return Err(EngineError::Conflict(message));
            }
            Some(_) => {
                let message =
                    format!("the cache has or had another key with the name `{}`; a new key needs a new name", key.name);
                return Err(EngineError::Conflict(message));
            }
        }
        if Signer::of(&key) == Signer::Server {
            cache_signatures::release(conn, cache).await?;
        }
        Ok(key)
    }

    /// To be called when a cache is signed with other keys, after the transaction.
    pub(crate) fn signs_otherwise(&self, cache: &Cache) {
        self.forget_served_cache(&cache.name);
        self.signing().look();
    }

    /// Ends the use of a key: nothing is signed with it any more, and its secret is gone. A cache keeps one at least, and one that has
    /// signed all that is served, unless this is forced.
    pub async fn retire_cache_key(&self, cache: &Cache, key: CacheKeyId, is_forced: bool) -> Result<(), EngineError> {
        let (id, now) = (cache.id, Moment::now());
        let retire = async move |conn: &mut Conn| {
            caches::lock(conn, id).await?;
            let active = cache_keys::active(conn, id).await?;
            if matches!(active.as_slice(), [last] if last.id == key) {
                let message = "this is the only key that the cache signs with: add another one first".to_owned();
                return Err(EngineError::Conflict(message));
            }
            let others = || active.iter().filter(|active| active.id != key);
            if !is_forced && others().count() < active.len() {
                let unsigned = served_unsigned(conn, others()).await?;
                if unsigned > 0 {
                    let message = format!(
                        "no other key has signed all that the cache serves yet, {unsigned} paths are missing: wait for the workers, or \
                         retire it with `force=true`, and these are not served until they are signed"
                    );
                    return Err(EngineError::Conflict(message));
                }
            }
            cache_keys::set_retired(conn, id, key, now).await?;
            if others().next().is_some_and(|next| Signer::of(next) == Signer::Server) {
                cache_signatures::release(conn, id).await?;
            }
            Ok(())
        };
        self.storage().try_transaction(retire).await?;
        self.signs_otherwise(cache);
        self.forget_signatures(id, key).await
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
            organization: None,
            wanted_after: None,
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

/// The key of a worker, which has its secret.
fn worker_key(cache: CacheId, key: &WorkerKey, now: Moment) -> CacheKey {
    CacheKey {
        id: CacheKeyId::new(),
        cache,
        name: key.public.name().to_owned(),
        public_key: key.public.to_bytes().to_vec(),
        secret_key_sealed: None,
        created_at: now,
        primary_since: now,
        retired_at: None,
        organization: Some(key.organization),
        wanted_after: Some(String::new()),
    }
}

/// How many of the paths that the cache serves the best of these keys has not signed.
async fn served_unsigned(conn: &mut Conn, keys: impl Iterator<Item = &CacheKey>) -> Result<i64, EngineError> {
    let mut least = i64::MAX;
    for key in keys {
        let unsigned = match Signer::of(key) {
            Signer::Server => 0,
            Signer::Worker => {
                let Wanted { paths, withheld } = cache_signatures::wanted(conn, key).await?;
                paths - withheld
            }
        };
        least = least.min(unsigned);
    }
    Ok(least)
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
