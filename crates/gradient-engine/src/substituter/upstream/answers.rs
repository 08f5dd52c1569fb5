use std::{sync::Arc, time::Duration};

use gradient_cache_protocol::ForeignPath;
use gradient_nix::StorePathHash;

/// The memory that answers may take, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// How long an answer is good, also that there is nothing. Clients remember much longer.
const MAX_AGE: Duration = Duration::from_mins(1);

/// What an entry takes beside its path: the key and the index's own.
const ENTRY_BYTES: usize = 256;

/// What upstreams have answered lately.
#[derive(Debug)]
pub(super) struct Answers(moka::sync::Cache<(Arc<str>, StorePathHash), Answer>);

#[derive(Debug, Clone)]
struct Answer {
    path: Option<Arc<ForeignPath>>,
    bytes: u32,
}

impl Answers {
    pub(super) fn new() -> Self {
        let weigh = |_: &(Arc<str>, StorePathHash), answer: &Answer| answer.bytes;
        Self(moka::sync::Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).time_to_live(MAX_AGE).build())
    }

    /// What the upstream of this name answered; the outer `None` when that is not known.
    #[expect(clippy::option_option, reason = "not known, not there and there are three different things")]
    pub(super) fn lookup(&self, name: &Arc<str>, hash: StorePathHash) -> Option<Option<Arc<ForeignPath>>> {
        Some(self.0.get(&(name.clone(), hash))?.path)
    }

    pub(super) fn insert(&self, name: &Arc<str>, hash: StorePathHash, path: Option<Arc<ForeignPath>>) {
        let text = path.as_ref().map_or(0, |path| path.to_text().len());
        let bytes = u32::try_from(2 * text + ENTRY_BYTES).unwrap_or(u32::MAX);
        self.0.insert((name.clone(), hash), Answer { path, bytes });
    }
}
