//! Where an organization's builds may come from instead of being built: the caches that it reads, and their upstreams.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::join_all,
    stream::{self, FuturesUnordered},
};
use gradient_cache_protocol::ForeignPath;
use gradient_domain::{CacheId, OrganizationId};
use gradient_nix::{StorePath, StorePathHash};
use gradient_protocol::UpstreamNar;
use gradient_storage::{
    Conn,
    cache_paths::{self, CachePath},
    paths::OrganizationPath,
    subscriptions,
};
use tokio::time::{Instant, timeout_at};

use super::{Elsewhere, Silent, Source};
use crate::{Engine, EngineError, ServedCache};

/// Questions of one organization that are asked at the same time.
pub(super) const ASKING_EACH: usize = 32;

/// How long a question may wait for others.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// Where an organization looks, in the order in which what they have is taken.
#[derive(Debug)]
pub(crate) struct Substitutes {
    organization: OrganizationId,
    caches: Vec<Place<CacheId>>,
    elsewhere: Vec<Place<Elsewhere>>,
}

#[derive(Debug)]
struct Place<T> {
    at: T,
    /// Whether all caches that the organization publishes to have what is there: it is one of them and the only one, or an upstream
    /// of them.
    serves: bool,
}

/// What a derivation would make.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) outputs: Vec<StorePath>,
    /// Whether it counts only where all who read the organization's caches find it.
    pub(crate) is_served: bool,
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// One of the places has all of it.
    There,
    /// None of them has.
    Absent,
    /// None of those that answered has.
    Unanswered,
}

/// A path that a build may be given.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) path: OrganizationPath,
    /// Where to fetch it, when this server does not have it.
    pub(crate) nar: Option<UpstreamNar>,
}

impl Substitutes {
    /// Whether there is anywhere to look.
    pub(crate) const fn is_empty(&self) -> bool {
        self.caches.is_empty() && self.elsewhere.is_empty()
    }

    /// The caches of this server that it may read.
    fn cache_ids(&self) -> Vec<CacheId> {
        self.caches.iter().map(|place| place.at).collect()
    }
}

impl Engine {
    /// Where an organization looks now: the caches that it reads and their upstreams, as far as it may read those.
    pub(crate) async fn substitutes(&self, organization: OrganizationId) -> Result<Substitutes, EngineError> {
        let list = async move |conn: &mut Conn| subscriptions::list(conn, organization).await;
        let (mut read, mut published) = (Vec::new(), Vec::new());
        for subscription in self.storage().read(list).await? {
            let Some(cache) = self.served_cache(&subscription.name).await? else { continue };
            if subscription.mode.is_writable() {
                published.push(Arc::clone(&cache));
            }
            if subscription.mode.is_readable() {
                read.push(cache);
            }
        }
        let mut places = Substitutes { organization, caches: Vec::new(), elsewhere: Vec::new() };
        for cache in &read {
            self.add_cache(&mut places, cache, &published).await?;
        }
        for cache in &read {
            for source in &cache.upstreams {
                match source {
                    Source::Cache(name) => {
                        let other = self.served_cache(name).await?;
                        let may_read = |other: &Arc<ServedCache>| other.public || read.iter().any(|cache| cache.id == other.id);
                        if let Some(other) = other.filter(may_read) {
                            self.add_cache(&mut places, &other, &published).await?;
                        }
                    }
                    Source::Elsewhere(at) if places.elsewhere.iter().all(|place| place.at.name != at.name) => {
                        let looks_there = |source: &Source| matches!(source, Source::Elsewhere(other) if other.name == at.name);
                        let serves = published.iter().all(|cache| cache.upstreams.iter().any(looks_there));
                        places.elsewhere.push(Place { at: (**at).clone(), serves });
                    }
                    Source::Elsewhere(_) => {}
                }
            }
        }
        Ok(places)
    }

    async fn add_cache(
        &self,
        places: &mut Substitutes,
        cache: &ServedCache,
        published: &[Arc<ServedCache>],
    ) -> Result<(), EngineError> {
        if places.caches.iter().any(|place| place.at == cache.id) {
            return Ok(());
        }
        let mut serves = true;
        for target in published.iter().filter(|target| target.id != cache.id) {
            let mut looks_there = false;
            for source in &target.upstreams {
                let Source::Cache(name) = source else { continue };
                // What is private is not seen by all who read the cache in front of it.
                looks_there |= cache.public && self.served_cache(name).await?.is_some_and(|other| other.id == cache.id);
            }
            serves &= looks_there;
        }
        places.caches.push(Place { at: cache.id, serves });
        Ok(())
    }

    /// Looks for what derivations would make; the addresses of the upstreams that did not answer until `until` are added to `silent`.
    pub(crate) async fn find_substitutes(
        &self,
        places: &Substitutes,
        questions: &[Question],
        until: Instant,
        silent: &mut BTreeSet<String>,
    ) -> Result<Vec<Found>, EngineError> {
        let asked: Vec<StorePathHash> = questions.iter().flat_map(|question| &question.outputs).map(StorePath::hash).collect();
        let here: HashSet<(CacheId, StorePath)> =
            self.cached_paths(places, asked).await?.into_iter().map(|(cache, path)| (cache, path.path)).collect();
        let answer = async |question: &Question| {
            let fits = |serves: bool| serves || !question.is_served;
            let has = |cache: CacheId| question.outputs.iter().all(|output| here.contains(&(cache, output.clone())));
            if places.caches.iter().any(|place| fits(place.serves) && has(place.at)) {
                return (Found::There, Vec::new());
            }
            let elsewhere = places.elsewhere.iter().filter(|place| fits(place.serves)).map(|place| async move {
                let outputs = question.outputs.iter().map(|output| self.ask_for_build(places, &place.at, output, until));
                let answers = join_all(outputs).await;
                let is_absent = answers.iter().any(|answer| matches!(answer, Ok(None)));
                let is_silent = answers.iter().any(Result::is_err);
                // Never one output from here and another from there: they could be of two runs.
                match (is_absent, is_silent) {
                    (true, _) => (Found::Absent, place),
                    (false, true) => (Found::Unanswered, place),
                    (false, false) => (Found::There, place),
                }
            });
            let (mut answers, mut found, mut quiet) = (elsewhere.collect::<FuturesUnordered<_>>(), Found::Absent, Vec::new());
            while let Some((answer, place)) = answers.next().await {
                match answer {
                    Found::There => return (Found::There, Vec::new()),
                    Found::Unanswered => {
                        found = Found::Unanswered;
                        quiet.push(place.at.url.to_string());
                    }
                    Found::Absent => {}
                }
            }
            (found, quiet)
        };
        let answers: Vec<_> = stream::iter(questions).map(answer).buffered(ASKING_EACH).collect().await;
        let take = |(found, quiet): (Found, Vec<String>)| {
            silent.extend(quiet);
            found
        };
        Ok(answers.into_iter().map(take).collect())
    }

    /// What builds may be given of these paths: what a cache of this server has before what is elsewhere. An error when nothing has
    /// one of them and an upstream does not answer.
    pub(crate) async fn offers(
        &self,
        places: &Substitutes,
        wanted: &[StorePath],
        until: Instant,
    ) -> Result<HashMap<StorePath, Offer>, EngineError> {
        let hashes = wanted.iter().map(StorePath::hash).collect();
        let mut found: HashMap<StorePath, Offer> = HashMap::new();
        for (_, path) in self.cached_paths(places, hashes).await? {
            found.entry(path.path.clone()).or_insert_with(|| Offer { path: of_cache(path), nar: None });
        }
        let absent = wanted.iter().filter(|path| !found.contains_key(path));
        let ask = async |path: &StorePath| {
            let asked = places.elsewhere.iter().map(|place| self.ask_for_input(places, &place.at, path, until));
            // In their order, so that all outputs of a derivation come from the same one.
            let (mut silence, answers) = (None, join_all(asked).await);
            for (answer, place) in answers.into_iter().zip(&places.elsewhere) {
                match answer {
                    Ok(Some(foreign)) => return Ok(Some(self.offer_of(&foreign, &place.at))),
                    Ok(None) => {}
                    Err(Silent) => silence = Some(place.at.url.to_string()),
                }
            }
            match silence {
                Some(url) => Err(EngineError::Upstream(format!("{url} does not say whether it has {path}"))),
                None => Ok(None),
            }
        };
        let answers: Vec<Result<Option<Offer>, EngineError>> =
            stream::iter(absent.collect::<Vec<_>>()).map(ask).buffer_unordered(ASKING_EACH).collect().await;
        for answer in answers {
            if let Some(offer) = answer? {
                found.insert(offer.path.path.clone(), offer);
            }
        }
        Ok(found)
    }

    /// The path as a cache of this server has it that the organization may read.
    pub(crate) async fn readable_path(
        &self,
        organization: OrganizationId,
        path: &StorePath,
    ) -> Result<Option<CachePath>, EngineError> {
        let places = self.substitutes(organization).await?;
        let found = self.cached_paths(&places, vec![path.hash()]).await?;
        Ok(found.into_iter().map(|(_, found)| found).find(|found| found.path == *path))
    }

    /// What the caches of this server have of these, in the order of the caches.
    async fn cached_paths(
        &self,
        places: &Substitutes,
        hashes: Vec<StorePathHash>,
    ) -> Result<Vec<(CacheId, CachePath)>, EngineError> {
        let caches = places.cache_ids();
        if caches.is_empty() || hashes.is_empty() {
            return Ok(Vec::new());
        }
        let order: HashMap<CacheId, usize> = caches.iter().copied().zip(0..).collect();
        let find = async move |conn: &mut Conn| cache_paths::find_in(conn, &caches, &hashes).await;
        let mut found = self.storage().read(find).await?;
        found.sort_by_key(|(cache, _)| order.get(cache).copied());
        Ok(found)
    }

    /// What is remembered, or else an answer, for a derivation that may not have to be built.
    async fn ask_for_build(
        &self,
        places: &Substitutes,
        source: &Elsewhere,
        path: &StorePath,
        until: Instant,
    ) -> Result<Option<Arc<ForeignPath>>, Silent> {
        let (upstreams, hash) = (&self.substituter().upstreams, path.hash());
        let ask = async {
            if let Some(known) = upstreams.answers.lookup(&source.name, hash) {
                return Ok(known);
            }
            let _share = upstreams.substituting.take(places.organization, MAX_WAIT).await.map_err(|_| Silent)?;
            match upstreams.answers.lookup(&source.name, hash) {
                Some(known) => Ok(known),
                None if upstreams.health.rests(&source.name) => Err(Silent),
                None => self.ask_now(source, hash).await,
            }
        };
        let found = timeout_at(until, ask).await.unwrap_or(Err(Silent))?;
        Ok(found.filter(|found| is_usable(found, path)))
    }

    /// The same for what a build needs: while the upstream does not answer, what it had is good.
    async fn ask_for_input(
        &self,
        places: &Substitutes,
        source: &Elsewhere,
        path: &StorePath,
        until: Instant,
    ) -> Result<Option<Arc<ForeignPath>>, Silent> {
        match self.ask_for_build(places, source, path, until).await {
            Err(Silent) => {
                let last = self.substituter().upstreams.answers.last(&source.name, path.hash());
                last.filter(|last| is_usable(last, path)).map(Some).ok_or(Silent)
            }
            answer => answer,
        }
    }

    fn offer_of(&self, foreign: &ForeignPath, at: &Elsewhere) -> Offer {
        let info = foreign.info();
        let path = OrganizationPath {
            path: info.path.clone(),
            nar_hash: info.nar_hash,
            nar_size: i64::try_from(info.nar_size).unwrap_or(i64::MAX),
            references: info.references.iter().cloned().collect(),
            deriver: info.deriver.clone(),
            content_address: info.content_address.as_ref().map(gradient_nix::CAHash::to_nix_string),
        };
        let nar = UpstreamNar {
            url: foreign.url().to_owned(),
            compression: foreign.compression().to_owned(),
            public_key: at.key.to_string(),
            signature: info.signatures.first().cloned().unwrap_or_default(),
            local: self.settings().allow_local_repositories,
        };
        Offer { path, nar: Some(nar) }
    }
}

/// Whether a worker can fetch it as this path.
fn is_usable(found: &ForeignPath, path: &StorePath) -> bool {
    found.info().path == *path && UpstreamNar::COMPRESSIONS.contains(&found.compression())
}

fn of_cache(path: CachePath) -> OrganizationPath {
    OrganizationPath {
        path: path.path,
        nar_hash: path.nar_hash,
        nar_size: path.nar_size,
        references: path.references,
        deriver: path.deriver,
        content_address: path.content_address,
    }
}
