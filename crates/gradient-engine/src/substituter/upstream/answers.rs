use std::{sync::Arc, time::Duration};

use gradient_cache_protocol::ForeignPath;
use gradient_nix::StorePathHash;

/// The memory that answers may take, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// How long an answer is good, also that there is nothing. Clients remember much longer.
const MAX_AGE: Duration = Duration::from_mins(1);

/// How long what an upstream had is good for those who cannot ask it now. A path never changes, and rarely goes.
const MAX_KEPT: Duration = Duration::from_hours(1);

/// What an entry takes beside its path: the key and the index's own.
const ENTRY_BYTES: usize = 256;

/// What upstreams have answered lately.
#[derive(Debug)]
pub(super) struct Answers {
    fresh: Memory,
    /// What was there.
    kept: Memory,
}

type Memory = moka::sync::Cache<(Arc<str>, StorePathHash), Answer>;

#[derive(Debug, Clone)]
struct Answer {
    path: Option<Arc<ForeignPath>>,
    bytes: u32,
}

impl Answers {
    pub(super) fn new() -> Self {
        let memory = |max_age| {
            let weigh = |_: &(Arc<str>, StorePathHash), answer: &Answer| answer.bytes;
            moka::sync::Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).time_to_live(max_age).build()
        };
        Self { fresh: memory(MAX_AGE), kept: memory(MAX_KEPT) }
    }

    /// What the upstream of this name answered; the outer `None` when that is not known.
    #[expect(clippy::option_option, reason = "not known, not there and there are three different things")]
    pub(super) fn lookup(&self, name: &Arc<str>, hash: StorePathHash) -> Option<Option<Arc<ForeignPath>>> {
        Some(self.fresh.get(&(name.clone(), hash))?.path)
    }

    /// What the upstream had when it was last asked.
    pub(super) fn last(&self, name: &Arc<str>, hash: StorePathHash) -> Option<Arc<ForeignPath>> {
        self.kept.get(&(name.clone(), hash))?.path
    }

    pub(super) fn insert(&self, name: &Arc<str>, hash: StorePathHash, path: Option<Arc<ForeignPath>>) {
        let text = path.as_ref().map_or(0, |path| path.to_text().len());
        let bytes = u32::try_from(2 * text + ENTRY_BYTES).unwrap_or(u32::MAX);
        let (key, answer) = ((name.clone(), hash), Answer { path, bytes });
        if answer.path.is_some() {
            self.kept.insert(key.clone(), answer.clone());
        } else {
            self.kept.invalidate(&key);
        }
        self.fresh.insert(key, answer);
    }
}
