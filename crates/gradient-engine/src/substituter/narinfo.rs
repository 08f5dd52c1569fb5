//! Narinfos, rendered and signed once and then kept in memory.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gradient_cache_protocol::PathInfo;
use gradient_domain::CacheId;
use gradient_nix::{CAHash, StorePathHash};
use gradient_storage::{
    Conn,
    cache_paths::{self, CachePath},
    cache_signatures::{self, Signatures},
};

use super::{ServedCache, presence::Says};
use crate::{Engine, EngineError, fetches::Noted};

/// The memory that narinfos may take, in bytes.
const MAX_BYTES: u64 = 128 << 20;

/// What an entry takes beside its text: the key and the index's own.
const ENTRY_BYTES: usize = 160;

/// What memory alone says of a narinfo.
#[derive(Debug, Clone)]
pub struct Remembered(Option<(Bytes, Noted)>);

impl Remembered {
    /// Whether the cache has the path.
    pub const fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

impl Engine {
    /// What is known of a narinfo without a look into the database; nothing is counted yet.
    pub fn remembered_narinfo(&self, cache: &ServedCache, hash: StorePathHash) -> Option<Remembered> {
        let substituter = self.substituter();
        if let Some(known) = substituter.index.lookup((cache.id, hash), cache.signed_by) {
            return Some(Remembered(Some(known)));
        }
        (substituter.presences.ask(cache.id, hash) == Says::Absent).then_some(Remembered(None))
    }

    /// Counts that a narinfo is answered from memory. The signed text, when the cache has the path.
    pub fn serve_remembered(&self, cache: &ServedCache, hash: StorePathHash, remembered: Remembered) -> Option<Bytes> {
        if let Some((text, noted)) = remembered.0 {
            cache.counters.hit();
            self.fetches().note(cache.id, hash, &noted);
            return Some(text);
        }
        cache.counters.miss();
        None
    }

    /// The signed narinfo of a path, as text, when the cache has the path.
    pub async fn narinfo(&self, cache: &ServedCache, hash: StorePathHash) -> Result<Option<Bytes>, EngineError> {
        if let Some(remembered) = self.remembered_narinfo(cache, hash) {
            return Ok(self.serve_remembered(cache, hash, remembered));
        }
        let index = &self.substituter().index;
        let began = index.begin();
        let text = self.path_info(cache, hash).await?.map(|info| Bytes::from(info.to_text()));
        match &text {
            Some(text) => index.insert((cache.id, hash), began, cache.signed_by, text.clone()),
            None if self.substituter().presences.ask(cache.id, hash) == Says::NotRead => self.read_presence(cache.id),
            None => {}
        }
        self.count(cache, hash, text.is_some());
        Ok(text)
    }

    /// The same as JSON.
    pub async fn narinfo_json(&self, cache: &ServedCache, hash: StorePathHash) -> Result<Option<serde_json::Value>, EngineError> {
        let json = self.path_info(cache, hash).await?.map(|info| info.to_json());
        self.count(cache, hash, json.is_some());
        Ok(json)
    }

    /// Counts a narinfo that was not in memory.
    fn count(&self, cache: &ServedCache, hash: StorePathHash, is_there: bool) {
        if is_there {
            cache.counters.hit();
            self.fetches().note_rare(cache.id, hash);
        } else {
            cache.counters.miss();
        }
    }

    /// What a cache says of a path, signed. A path that waits for its signature is not served.
    pub(super) async fn path_info(&self, cache: &ServedCache, hash: StorePathHash) -> Result<Option<PathInfo>, EngineError> {
        let (id, workers_sign) = (cache.id, cache.workers_sign);
        let find = async move |conn: &mut Conn| {
            let Some(row) = cache_paths::lookup_by_hash(conn, id, hash).await? else { return Ok(None) };
            let signatures = if workers_sign { cache_signatures::of_path(conn, id, hash).await? } else { Signatures::default() };
            Ok(Some((row, signatures)))
        };
        let Some((row, signatures)) = self.storage().read(find).await? else { return Ok(None) };
        if signatures.withheld || (cache.keys.is_empty() && signatures.made.is_empty()) {
            return Ok(None);
        }
        let mut info = describe(row)?;
        signatures.made.into_iter().for_each(|signature| info.add_signature(signature));
        for key in &cache.keys {
            info.sign(key);
        }
        Ok(Some(info))
    }
}

fn describe(row: CachePath) -> Result<PathInfo, EngineError> {
    let damaged = |what: &str| EngineError::Damaged(format!("the {what} of {} is not one", row.path));
    let size = |size: i64, what| u64::try_from(size).map_err(|_| damaged(what));
    let content_address = row.content_address.as_deref().map(CAHash::parse).transpose();
    Ok(PathInfo {
        nar_hash: row.nar_hash,
        nar_size: size(row.nar_size, "NAR size")?,
        file_hash: Some(row.file_hash),
        file_size: Some(size(row.file_size, "file size")?),
        references: row.references.iter().cloned().collect(),
        content_address: content_address.map_err(|_| damaged("content address"))?,
        deriver: row.deriver,
        signatures: row.foreign_signatures,
        path: row.path,
    })
}

type Key = (CacheId, StorePathHash);

/// Texts by cache and hash. A path that is published is never another one later, so a text stays right until that path is
/// [forgotten](Index::forget) or the cache signs with other keys.
#[derive(Debug)]
pub(super) struct Index {
    texts: moka::sync::Cache<Key, Entry>,
    forgotten: Forgotten,
}

#[derive(Debug, Clone)]
struct Entry {
    text: Bytes,
    noted: Noted,
    /// Stands for the keys that signed it. Whoever began with the old keys may end with the old text after they changed, which is of
    /// no use to those who know the new ones.
    signed_by: u64,
}

impl Index {
    pub(super) fn new() -> Self {
        let weigh = |_: &Key, entry: &Entry| u32::try_from(entry.text.len() + ENTRY_BYTES).unwrap_or(u32::MAX);
        let texts = moka::sync::Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).build();
        Self { texts, forgotten: Forgotten::default() }
    }

    /// What has to be read before the database is.
    pub(super) fn begin(&self) -> Began {
        self.forgotten.begin()
    }

    /// Whether nothing was forgotten since.
    pub(super) fn is_current(&self, began: Began) -> bool {
        self.forgotten.is_current(began)
    }

    fn lookup(&self, key: Key, signed_by: u64) -> Option<(Bytes, Noted)> {
        let entry = self.texts.get(&key)?;
        (entry.signed_by == signed_by).then_some((entry.text, entry.noted))
    }

    fn insert(&self, key: Key, began: Began, signed_by: u64, text: Bytes) {
        self.texts.insert(key, Entry { text, noted: Noted::default(), signed_by });
        // It may be what was forgotten meanwhile; then the next look-up remembers it.
        if !self.is_current(began) {
            self.texts.invalidate(&key);
        }
    }

    /// What is remembered of one path is not right any more.
    pub(super) fn forget(&self, key: Key) {
        self.forgotten.count();
        self.texts.invalidate(&key);
    }
}

/// Counts what was forgotten, so that a look-up that began before does not bring it back.
#[derive(Debug, Default)]
struct Forgotten(AtomicU64);

/// When a look-up began: whether its answer may be remembered depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Began(u64);

impl Forgotten {
    fn begin(&self) -> Began {
        Began(self.0.load(Ordering::SeqCst))
    }

    fn is_current(&self, began: Began) -> bool {
        self.begin() == began
    }

    fn count(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u64 = 7;
    const TEXT: Bytes = Bytes::from_static(b"StorePath: x");

    fn key() -> Key {
        (CacheId::new(), "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz".parse().unwrap())
    }

    #[test]
    fn what_is_forgotten_does_not_come_back_from_a_look_up_that_began_before() {
        let (index, key) = (Index::new(), key());
        index.insert(key, index.begin(), KEYS, TEXT);
        let before = index.begin();
        index.forget(key);
        assert!(index.lookup(key, KEYS).is_none());
        index.insert(key, before, KEYS, TEXT);
        assert!(index.lookup(key, KEYS).is_none());
        index.insert(key, index.begin(), KEYS, TEXT);
        assert!(index.lookup(key, KEYS).is_some_and(|(text, _)| text == TEXT));
    }

    #[test]
    fn a_text_is_one_caches() {
        let (index, key) = (Index::new(), key());
        index.insert(key, index.begin(), KEYS, TEXT);
        assert!(index.lookup((CacheId::new(), key.1), KEYS).is_none());
    }

    #[test]
    fn what_other_keys_have_signed_is_not_served() {
        let (index, key) = (Index::new(), key());
        index.insert(key, index.begin(), KEYS, TEXT);
        assert!(index.lookup(key, 8).is_none());
        index.insert(key, index.begin(), 8, TEXT);
        assert!(index.lookup(key, 8).is_some() && index.lookup(key, KEYS).is_none());
    }
}
