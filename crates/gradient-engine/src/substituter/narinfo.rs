//! Narinfos, rendered and signed once and then kept in memory, as are the hashes that nobody knows.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gradient_cache_protocol::PathInfo;
use gradient_domain::CacheId;
use gradient_nix::{CAHash, StorePathHash};
use gradient_storage::cache_paths::{self, CachePath};

use super::ServedCache;
use crate::{Engine, EngineError, fetches::Noted};

/// The memory that narinfos may take, in bytes.
const MAX_BYTES: u64 = 128 << 20;

/// What an entry takes beside its text: the key and the index's own.
const ENTRY_BYTES: usize = 160;

impl Engine {
    /// The signed narinfo of a path, as text, when the cache has the path.
    pub async fn narinfo(&self, cache: &ServedCache, hash: StorePathHash) -> Result<Option<Bytes>, EngineError> {
        let index = &self.substituter().index;
        let key = (cache.id, hash);
        match index.lookup(key) {
            Some(Known::Text(text, noted)) => {
                cache.counters.hit();
                self.fetches().note(cache.id, hash, &noted);
                return Ok(Some(text));
            }
            Some(Known::Absent) => {
                cache.counters.miss();
                return Ok(None);
            }
            None => {}
        }
        let began = index.begin();
        let text = self.path_info(cache, hash).await?.map(|info| Bytes::from(info.to_text()));
        index.insert(key, began, text.clone());
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

    /// What a cache says of a path, signed. A path that nobody has signed is not served.
    async fn path_info(&self, cache: &ServedCache, hash: StorePathHash) -> Result<Option<PathInfo>, EngineError> {
        let id = cache.id;
        let row = self
            .storage()
            .read(async move |conn: &mut gradient_storage::Conn| cache_paths::lookup_by_hash(conn, id, hash).await)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let mut info = describe(row)?;
        if let Some(key) = &cache.key {
            info.sign(key);
        }
        Ok(Some(info).filter(|info| !info.signatures.is_empty()))
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
        signatures: row.signature.into_iter().chain(row.foreign_signatures).collect(),
        path: row.path,
    })
}

type Key = (CacheId, StorePathHash);

/// Texts by cache and hash. A path that is published is never another one later, so a text stays right until that path is
/// [forgotten](Index::forget); that there is none stays right until something is published.
#[derive(Debug)]
pub(super) struct Index {
    entries: moka::sync::Cache<Key, Entry>,
    generation: AtomicU64,
    forgotten: AtomicU64,
}

/// When a look-up began: what of its answer may be remembered depends on that.
#[derive(Debug, Clone, Copy)]
struct Began {
    generation: u64,
    forgotten: u64,
}

#[derive(Debug, Clone)]
enum Entry {
    Text(Bytes, Noted),
    /// It was not there in that generation. A look-up that began before something was published says so by its number, however
    /// late it ends.
    Absent(u64),
}

/// What memory knows.
#[derive(Debug)]
enum Known {
    Text(Bytes, Noted),
    Absent,
}

impl Index {
    pub(super) fn new() -> Self {
        let weigh = |_: &Key, entry: &Entry| {
            let text = match entry {
                Entry::Text(text, _) => text.len(),
                Entry::Absent(_) => 0,
            };
            u32::try_from(text + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        let entries = moka::sync::Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).build();
        Self { entries, generation: AtomicU64::new(0), forgotten: AtomicU64::new(0) }
    }

    /// What has to be read before the database is.
    fn begin(&self) -> Began {
        Began { generation: self.generation.load(Ordering::SeqCst), forgotten: self.forgotten.load(Ordering::SeqCst) }
    }

    fn lookup(&self, key: Key) -> Option<Known> {
        match self.entries.get(&key)? {
            Entry::Text(text, noted) => Some(Known::Text(text, noted)),
            Entry::Absent(generation) => (generation == self.generation.load(Ordering::SeqCst)).then_some(Known::Absent),
        }
    }

    fn insert(&self, key: Key, began: Began, text: Option<Bytes>) {
        let entry = text.map_or(Entry::Absent(began.generation), |text| Entry::Text(text, Noted::default()));
        self.entries.insert(key, entry);
        // It may be what was forgotten meanwhile; then the next look-up remembers it.
        if self.forgotten.load(Ordering::SeqCst) != began.forgotten {
            self.entries.invalidate(&key);
        }
    }

    /// What is remembered of one path is not right any more.
    pub(super) fn forget(&self, key: Key) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.entries.invalidate(&key);
    }

    pub(super) fn forget_absent(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        (CacheId::new(), "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz".parse().unwrap())
    }

    #[test]
    fn a_miss_is_remembered_until_something_is_published() {
        let (index, key) = (Index::new(), key());
        index.insert(key, index.begin(), None);
        assert!(matches!(index.lookup(key), Some(Known::Absent)));
        index.forget_absent();
        assert!(index.lookup(key).is_none());
    }

    #[test]
    fn a_look_up_that_is_overtaken_by_a_publish_leaves_no_miss() {
        let (index, key) = (Index::new(), key());
        let before = index.begin();
        index.forget_absent();
        index.insert(key, before, None);
        assert!(index.lookup(key).is_none());
    }

    #[test]
    fn what_is_forgotten_does_not_come_back_from_a_look_up_that_began_before() {
        let (index, key) = (Index::new(), key());
        let text = || Some(Bytes::from_static(b"StorePath: x"));
        index.insert(key, index.begin(), text());
        let before = index.begin();
        index.forget(key);
        assert!(index.lookup(key).is_none());
        index.insert(key, before, text());
        assert!(index.lookup(key).is_none());
    }

    #[test]
    fn a_text_outlives_what_is_published() {
        let (index, key) = (Index::new(), key());
        index.insert(key, index.begin(), Some(Bytes::from_static(b"StorePath: x")));
        index.forget_absent();
        assert!(matches!(index.lookup(key), Some(Known::Text(text, _)) if text == "StorePath: x"));
        assert!(index.lookup((CacheId::new(), key.1)).is_none());
    }
}
