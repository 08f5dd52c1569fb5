//! What a cache does not have itself, its upstreams may have.
//!
//! Other caches of this server are looked into first, as far as the caller may read them: they answer from memory. Caches
//! elsewhere are then asked at the same time, within one short wait. Only an upstream itself counts, not what it would find in
//! its own upstreams, so no look-up goes in circles or becomes many.

mod answers;
mod client;
mod health;
mod organization;
mod pull;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, FuturesUnordered},
};
use gradient_auth::{Caller, Decision};
use gradient_cache_protocol::{ForeignPath, PathInfo, narinfo::COMPRESSION};
use gradient_domain::{CacheId, CacheName, CacheUrl, OrganizationId};
use gradient_nix::{NarHash, PublicKey, StorePathHash};
use gradient_storage::{Conn, cache_paths};

pub(crate) use self::organization::{Found, Offer as InputOffer, Question, Substitutes};
pub use self::pull::PulledNar;
use self::{answers::Answers, client::Client, health::Health, pull::Pulls};
use super::{CachedNar, ServedCache};
use crate::{Engine, EngineError, Shares};

/// How long an upstream may take to answer.
const BUDGET: Duration = Duration::from_secs(2);

/// How many questions are asked at the same time, for all caches together; and for each.
const ASKING: usize = 64;
const ASKING_EACH: usize = 8;

/// References of one path that are asked for at the same time.
const REFERENCES: usize = 4;

/// How long a question may wait to be asked: longer than for those before it not to be answered.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// What a question to a cache elsewhere carries: one that is asked so answers for itself only.
pub const UPSTREAM_HEADER: &str = "x-gradient-upstream";

/// Where a cache looks for what it does not have.
#[derive(Debug)]
pub(super) enum Source {
    /// In another cache of this server.
    Cache(CacheName),
    /// In a cache elsewhere.
    Elsewhere(Box<Elsewhere>),
}

/// A cache elsewhere, whose answers count when this key has signed them.
#[derive(Debug, Clone)]
pub(super) struct Elsewhere {
    url: CacheUrl,
    key: PublicKey,
    /// URL and key: what answers are remembered by. Whoever changes one of them has another place.
    name: Arc<str>,
}

impl Elsewhere {
    pub(super) fn new(url: CacheUrl, key: PublicKey) -> Self {
        let name = format!("{url} {key}").into();
        Self { url, key, name }
    }
}

/// What is in memory of caches elsewhere.
#[derive(Debug)]
pub(super) struct Upstreams {
    client: Client,
    answers: Answers,
    health: Health,
    asking: Shares<CacheId>,
    /// The same for questions about what a path refers to, which are not to delay those that somebody waits for.
    checking: Shares<CacheId>,
    /// The same for questions about what builds would make, or need.
    substituting: Shares<OrganizationId>,
    pulls: Pulls,
}

/// A path that a cache elsewhere has.
#[derive(Debug, Clone)]
struct Offer {
    path: Arc<ForeignPath>,
    /// The name of that cache.
    upstream: Arc<str>,
}

impl Upstreams {
    pub(super) fn new() -> Self {
        Self {
            client: Client::default(),
            answers: Answers::new(),
            health: Health::new(),
            asking: Shares::new(ASKING, ASKING_EACH),
            checking: Shares::new(ASKING, ASKING_EACH),
            substituting: Shares::new(ASKING, organization::ASKING_EACH),
            pulls: Pulls::new(),
        }
    }

    /// What there is to say of a path without asking: what was answered lately, or nothing of an upstream that rests.
    #[expect(clippy::option_option, reason = "not known, not there and there are three different things")]
    fn known(&self, source: &Elsewhere, hash: StorePathHash) -> Option<Option<Arc<ForeignPath>>> {
        let answer = self.answers.lookup(&source.name, hash);
        answer.or_else(|| self.health.rests(&source.name).then_some(None))
    }
}

impl Engine {
    /// The narinfo of a path that an upstream of the cache has, as text.
    pub async fn upstream_narinfo(
        &self,
        cache: &ServedCache,
        caller: &Caller,
        hash: StorePathHash,
    ) -> Result<Option<Bytes>, EngineError> {
        for other in self.readable_upstreams(cache, caller).await? {
            if let Some(text) = self.narinfo(&other, hash).await? {
                return Ok(Some(if takes_over(cache, &other) { with_path(&text, hash) } else { text }));
            }
        }
        let Some(Offer { path, .. }) = self.ask_elsewhere(cache, hash).await? else { return Ok(None) };
        if !self.pulls(cache, &path) {
            return Ok(Some(path.to_text().into()));
        }
        let info = self.servable(cache, caller, &path).await?;
        Ok(info.map(|info| info.text_at(&info.url_of_path(), COMPRESSION).into()))
    }

    /// The same as JSON.
    pub async fn upstream_narinfo_json(
        &self,
        cache: &ServedCache,
        caller: &Caller,
        hash: StorePathHash,
    ) -> Result<Option<serde_json::Value>, EngineError> {
        for other in self.readable_upstreams(cache, caller).await? {
            if let Some(mut json) = self.narinfo_json(&other, hash).await? {
                if let (true, Some(serde_json::Value::String(url))) = (takes_over(cache, &other), json.get_mut("URL")) {
                    *url = with_hash(url, hash);
                }
                return Ok(Some(json));
            }
        }
        let Some(Offer { path, .. }) = self.ask_elsewhere(cache, hash).await? else { return Ok(None) };
        if !self.pulls(cache, &path) {
            return Ok(Some(path.to_json()));
        }
        let info = self.servable(cache, caller, &path).await?;
        Ok(info.map(|info| info.json_at(&info.url_of_path(), COMPRESSION)))
    }

    /// What the cache says of a path that it would pull, unless it is known that something that the path refers to can be had
    /// neither here nor there. What cannot be asked for now is taken to be there, as the upstream says.
    async fn servable(&self, cache: &ServedCache, caller: &Caller, path: &ForeignPath) -> Result<Option<PathInfo>, EngineError> {
        let info = path.through();
        let others = info.references.iter().filter(|reference| **reference != info.path);
        let (id, asked): (_, Vec<_>) = (cache.id, others.map(gradient_nix::StorePath::hash).collect());
        let wanted = asked.clone();
        let here = self.storage().read(async move |conn: &mut Conn| cache_paths::known(conn, id, &wanted).await).await?;
        let absent = asked.into_iter().filter(|hash| !here.contains(hash));
        let ask = async |hash| self.is_upstream(cache, caller, hash).await.unwrap_or(true);
        let mut answers = std::pin::pin!(stream::iter(absent).map(ask).buffer_unordered(REFERENCES));
        while let Some(is_there) = answers.next().await {
            if !is_there {
                return Ok(None);
            }
        }
        Ok(Some(info))
    }

    /// Whether an upstream has a path.
    async fn is_upstream(&self, cache: &ServedCache, caller: &Caller, hash: StorePathHash) -> Result<bool, EngineError> {
        for other in self.readable_upstreams(cache, caller).await? {
            if self.narinfo(&other, hash).await?.is_some() {
                return Ok(true);
            }
        }
        let checking = &self.substituter().upstreams.checking;
        Ok(self.ask_in_turn(cache, hash, checking).await?.is_some())
    }

    /// Whether the NAR of a path would go through this cache. One that is larger than what is taken is fetched from where it is.
    fn pulls(&self, cache: &ServedCache, path: &ForeignPath) -> bool {
        cache.pull_through && path.info().nar_size <= self.settings().max_nar_bytes
    }

    /// The NAR with this hash, when an upstream that is a cache of this server has a path with it. Those of caches elsewhere are
    /// fetched from there.
    pub async fn upstream_nar(
        &self,
        cache: &ServedCache,
        caller: &Caller,
        nar_hash: NarHash,
    ) -> Result<Option<CachedNar>, EngineError> {
        for other in self.readable_upstreams(cache, caller).await? {
            if let Some(nar) = self.cached_nar(&other, nar_hash).await? {
                return Ok(Some(nar));
            }
        }
        Ok(None)
    }

    async fn readable_upstreams(&self, cache: &ServedCache, caller: &Caller) -> Result<Vec<Arc<ServedCache>>, EngineError> {
        let mut readable = Vec::new();
        for source in &cache.upstreams {
            let Source::Cache(name) = source else { continue };
            let Some(other) = self.served_cache(name).await? else { continue };
            if self.may_pull(&other, caller).await? == Decision::Granted {
                readable.push(other);
            }
        }
        Ok(readable)
    }

    /// Asks all upstreams elsewhere at once; the first that has the path is believed. `Busy` when none of them has it and one could
    /// not be asked: clients remember for long that there is nothing.
    async fn ask_elsewhere(&self, cache: &ServedCache, hash: StorePathHash) -> Result<Option<Offer>, EngineError> {
        self.ask_in_turn(cache, hash, &self.substituter().upstreams.asking).await
    }

    async fn ask_in_turn(
        &self,
        cache: &ServedCache,
        hash: StorePathHash,
        turns: &Shares<CacheId>,
    ) -> Result<Option<Offer>, EngineError> {
        let elsewhere = cache.upstreams.iter().filter_map(|source| match source {
            Source::Elsewhere(elsewhere) => Some(async move {
                let path = self.ask(cache.id, elsewhere, hash, turns).await?;
                Ok(path.map(|path| Offer { path, upstream: elsewhere.name.clone() }))
            }),
            Source::Cache(_) => None,
        });
        let (mut asked, mut nothing): (FuturesUnordered<_>, _) = (elsewhere.collect(), Ok(None));
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(Some(offer)) => return Ok(Some(offer)),
                Ok(None) => {}
                Err(error) => nothing = Err(error),
            }
        }
        nothing
    }

    /// What is remembered, or else an answer within the budget. One that does not answer is let alone for a while.
    async fn ask(
        &self,
        cache: CacheId,
        source: &Elsewhere,
        hash: StorePathHash,
        turns: &Shares<CacheId>,
    ) -> Result<Option<Arc<ForeignPath>>, EngineError> {
        let upstreams = &self.substituter().upstreams;
        if let Some(known) = upstreams.known(source, hash) {
            return Ok(known);
        }
        let _share = turns.take(cache, MAX_WAIT).await?;
        // Others have asked meanwhile.
        if let Some(known) = upstreams.known(source, hash) {
            return Ok(known);
        }
        Ok(self.ask_now(source, hash).await.unwrap_or(None))
    }

    /// An answer within the budget, which is remembered.
    async fn ask_now(&self, source: &Elsewhere, hash: StorePathHash) -> Result<Option<Arc<ForeignPath>>, Silent> {
        let upstreams = &self.substituter().upstreams;
        let asked = upstreams.client.ask(&source.url, hash, self.settings().allow_local_repositories);
        match tokio::time::timeout(BUDGET, asked).await {
            Ok(Ok(text)) => {
                upstreams.health.well(&source.name);
                let path = text.and_then(|text| believed(source, hash, &text));
                upstreams.answers.insert(&source.name, hash, path.clone());
                Ok(path)
            }
            Ok(Err(error)) => {
                upstreams.health.failed(&source.name, &error);
                Err(Silent)
            }
            Err(_) => {
                upstreams.health.failed(&source.name, &"no answer in time");
                Err(Silent)
            }
        }
    }
}

/// An upstream does not say whether it has a path.
#[derive(Debug)]
struct Silent;

/// Whether what one cache has becomes the other's when somebody fetches it there: only what everybody may read anyway, for whoever
/// may read the one in front need not be let into the one behind it.
fn takes_over(cache: &ServedCache, other: &ServedCache) -> bool {
    cache.pull_through && other.public
}

/// A narinfo of another cache of this server, whose NAR is asked for with the path.
fn with_path(text: &Bytes, hash: StorePathHash) -> Bytes {
    let text = String::from_utf8_lossy(text);
    let line = |line: &str| if line.starts_with("URL: ") { with_hash(line, hash) + "\n" } else { format!("{line}\n") };
    text.lines().map(line).collect::<String>().into()
}

fn with_hash(url: &str, hash: StorePathHash) -> String {
    format!("{url}?hash={hash}")
}

fn believed(source: &Elsewhere, hash: StorePathHash, text: &[u8]) -> Option<Arc<ForeignPath>> {
    match ForeignPath::verify(text, hash, &source.key, &source.url.to_string()) {
        Ok(path) => Some(Arc::new(path)),
        Err(error) => {
            tracing::debug!(upstream = %source.url, %hash, %error, "an upstream's narinfo does not count");
            None
        }
    }
}
