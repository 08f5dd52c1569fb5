//! What Nix's clients read of a cache: narinfos, NARs, listings and logs.
//!
//! A cache answers only for paths it has a claim on; what else the server has is as unknown to it as what nobody has.

mod access;
mod debuginfo;
mod directory;
mod log;
mod nar;
mod narinfo;
mod presence;
mod readers;
mod upstream;

use gradient_domain::{CacheId, CacheName};
use gradient_nix::StorePathHash;

pub use debuginfo::CachedDebuginfo;
pub use directory::ServedCache;
pub use log::CachedLog;
pub use nar::{CachedListing, CachedNar};
pub use narinfo::Remembered;
pub use readers::Reader;
pub(crate) use upstream::{Found, InputOffer, Question, Substitutes};
pub use upstream::{PulledNar, UPSTREAM_HEADER};

use crate::Engine;
use directory::Directory;
use nar::Nars;
use narinfo::Index;
use presence::Presences;
use readers::Readers;
use upstream::Upstreams;

/// What is in memory of the caches that are served.
#[derive(Debug)]
pub(crate) struct Substituter {
    directory: Directory,
    index: Index,
    nars: Nars,
    presences: Presences,
    readers: Readers,
    upstreams: Upstreams,
}

impl Substituter {
    pub(crate) fn new() -> Self {
        Self {
            directory: Directory::new(),
            index: Index::new(),
            nars: nar::no_nars(),
            presences: Presences::new(),
            readers: Readers::new(),
            upstreams: Upstreams::new(),
        }
    }
}

impl Engine {
    /// To be called when paths were published, after the transaction and before anybody is told.
    pub(crate) fn paths_published(&self, published: &[(CacheId, Vec<StorePathHash>)]) {
        for (cache, hashes) in published {
            self.substituter().presences.published(*cache, hashes);
        }
        self.signing().look();
    }

    /// To be called when what a cache says of a path has changed, or it has the path no longer, after the transaction.
    pub(crate) fn forget_published_path(&self, cache: CacheId, hash: StorePathHash) {
        self.substituter().index.forget((cache, hash));
    }

    /// To be called when a cache or its upstreams were changed, or it was renamed or deleted, after the transaction.
    pub(crate) fn forget_served_cache(&self, name: &CacheName) {
        self.substituter().directory.forget(name);
    }
}
