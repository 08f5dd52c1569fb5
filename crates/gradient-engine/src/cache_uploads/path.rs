use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use gradient_auth::Caller;
use gradient_blobs::BlobKey;
use gradient_cache_protocol::{
    DeclaredPath, content_address,
    declared::MAX_SIGNATURES,
    ingest::{self, Candidates, Expectation, IngestError, Mentions, Subject, VerifiedUpload},
};
use gradient_domain::Moment;
use gradient_nix::{CAHash, NarHash, StorePath, StorePathHash};
use gradient_storage::{
    Conn,
    cache_paths::{self, CachePath, NewCachePath},
    caches, pending_paths,
    uploaded_nars::{self, UploadedNar},
};

use super::{Uploader, decoded};
use crate::{
    Engine, EngineError, ServedCache,
    uploads::{Stored, incoming, max_compressed},
};

/// The most bytes of a narinfo; one of a path with ten thousand references has half of that.
const MAX_BYTES: usize = 1 << 20;

/// Paths of one cache that may wait for what they refer to.
const MAX_PENDING: i64 = 100_000;

/// Upstreams that are asked at the same time for what a path refers to.
const ASKING: usize = 4;

/// How long a NAR that is read again may wait to be read.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// What became of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathUpload {
    /// Readers see it.
    Published,
    /// They will, once these can be served.
    Pending(Vec<StorePathHash>),
}

/// Where a path's NAR is known from.
enum Nar {
    /// Its uploader uploaded it for this.
    Uploaded(UploadedNar),
    /// The cache has another path with the same content, with this size.
    Held(i64),
}

impl Engine {
    /// Makes a NAR that was uploaded, or that the cache has, the content of a path: as the narinfo says that was uploaded for
    /// `hash`, after everything in it was checked. What is published already keeps all but the signatures of others.
    pub async fn upload_path(
        &self,
        cache: &ServedCache,
        uploader: &Uploader,
        hash: StorePathHash,
        narinfo: &[u8],
        encoding: &str,
    ) -> Result<PathUpload, EngineError> {
        let declared = parse(hash, &decoded(narinfo, encoding, MAX_BYTES)?)?;
        let id = cache.id;
        let published =
            self.storage().read(async move |conn: &mut Conn| cache_paths::lookup_by_hash(conn, id, hash).await).await?;
        if let Some(published) = published {
            return self.add_signatures(cache, declared, published).await;
        }
        let nar = self.find_nar(cache, uploader, &declared).await?;
        self.check(&declared, &nar).await?;
        let new = NewCachePath {
            path: declared.path,
            nar_hash: declared.nar_hash,
            references: declared.references.into_iter().collect(),
            deriver: declared.deriver,
            content_address: declared.content_address.map(|address| address.to_nix_string()),
            foreign_signatures: declared.signatures,
        };
        let elsewhere = self.servable_elsewhere(cache, &uploader.caller, &new).await?;
        self.publish_checked(cache, new, elsewhere, None).await
    }

    async fn add_signatures(
        &self,
        cache: &ServedCache,
        declared: DeclaredPath,
        published: CachePath,
    ) -> Result<PathUpload, EngineError> {
        let same = declared.path == published.path
            && declared.nar_hash == published.nar_hash
            && u64::try_from(published.nar_size).is_ok_and(|size| size == declared.nar_size)
            && declared.references.iter().eq(published.references.iter().collect::<BTreeSet<_>>());
        if !same {
            let message = format!("the cache has {} with another content; a path never changes", published.path);
            return Err(EngineError::Conflict(message));
        }
        let (id, hash) = (cache.id, published.path.hash());
        let set = async move |conn: &mut Conn| {
            caches::lock(conn, id).await?;
            let Some(now) = cache_paths::lookup_by_hash(conn, id, hash).await? else { return Ok(()) };
            cache_paths::claim_again(conn, id, &[hash], Moment::now()).await?;
            let merged = merged(now.foreign_signatures.clone(), declared.signatures);
            if merged == now.foreign_signatures {
                return Ok(());
            }
            cache_paths::set_foreign_signatures(conn, id, hash, merged).await
        };
        self.storage().transaction(set).await?;
        self.forget_published_path(id, hash);
        Ok(PathUpload::Published)
    }

    async fn find_nar(&self, cache: &ServedCache, uploader: &Uploader, declared: &DeclaredPath) -> Result<Nar, EngineError> {
        let (cache, uploader) = (cache.id, uploader.user);
        let (name, nar_hash) = (declared.nar.to_string(), declared.nar_hash);
        let find = async move |conn: &mut Conn| {
            if let Some(uploaded) = uploaded_nars::lookup(conn, cache, uploader, &name).await? {
                return Ok(Some(Nar::Uploaded(uploaded)));
            }
            let held = cache_paths::lookup_by_nar(conn, cache, nar_hash).await?;
            Ok(held.map(|held| Nar::Held(held.nar_size)))
        };
        let missing = || invalid(format!("URL: upload nar/{} before the narinfo that names it", declared.nar));
        self.storage().read(find).await?.ok_or_else(missing)
    }

    /// Compares what is claimed with what was found. Usually what was noted while the NAR came is enough; otherwise it is read again.
    async fn check(&self, declared: &DeclaredPath, nar: &Nar) -> Result<(), EngineError> {
        let subject = || Subject::Path(declared.path.clone());
        let (nar_hash, nar_size) = match nar {
            Nar::Uploaded(uploaded) => (uploaded.nar_hash, uploaded.nar_size),
            Nar::Held(size) => (declared.nar_hash, *size),
        };
        if nar_hash != declared.nar_hash {
            return Err(IngestError::NarHash { subject: subject(), claimed: declared.nar_hash, found: nar_hash }.into());
        }
        let nar_size = u64::try_from(nar_size).unwrap_or_default();
        if nar_size != declared.nar_size {
            return Err(IngestError::NarSize { subject: subject(), claimed: declared.nar_size, found: nar_size }.into());
        }
        let Nar::Uploaded(uploaded) = nar else { return self.read_again(declared).await };
        if let Some(claimed) = declared.file_hash.filter(|claimed| *claimed != uploaded.sent_hash) {
            return Err(IngestError::FileHash { subject: subject(), claimed, found: uploaded.sent_hash }.into());
        }
        let sent_size = u64::try_from(uploaded.sent_size).unwrap_or_default();
        if let Some(claimed) = declared.file_size.filter(|claimed| *claimed != sent_size) {
            return Err(IngestError::FileSize { subject: subject(), claimed, found: sent_size }.into());
        }
        let mentions = Mentions::from_bytes(&uploaded.mentions);
        let all_are_there = declared.references.iter().all(|reference| mentions.contains(&reference.hash()));
        match &declared.content_address {
            // With its own path in it, the content hashes to something else.
            Some(address @ CAHash::Nar(hash)) if *hash == nar_hash.into() && !declared.references.contains(&declared.path) => {
                content_address::check_path(&declared.path, address, &declared.references).map_err(IngestError::from)?;
            }
            Some(_) => return self.read_again(declared).await,
            None => {}
        }
        if all_are_there { Ok(()) } else { self.read_again(declared).await }
    }

    /// Reads the stored NAR with all that is claimed of it.
    async fn read_again(&self, declared: &DeclaredPath) -> Result<(), EngineError> {
        let DeclaredPath { path, nar_hash, references, content_address, .. } = declared;
        self.check_stored(path, *nar_hash, references, content_address.as_ref()).await
    }

    /// Reads a stored NAR with all that is claimed of a path.
    pub(crate) async fn check_stored(
        &self,
        path: &StorePath,
        nar_hash: NarHash,
        references: &BTreeSet<StorePath>,
        address: Option<&CAHash>,
    ) -> Result<(), EngineError> {
        let _share = self.rereading().take((), MAX_WAIT).await?;
        let mut expectation = expectation(path, references, self.settings().max_nar_bytes);
        expectation.nar_hash = Some(nar_hash);
        expectation.content_address = address.cloned();
        let verified = self.verify_stored(nar_hash, expectation).await?;
        Ok(all_found(path, references, &verified)?)
    }

    async fn verify_stored(&self, nar_hash: NarHash, expectation: Expectation) -> Result<VerifiedUpload, EngineError> {
        let key = BlobKey::nar(&nar_hash);
        let blob = self.blobs().get(&key).await?;
        let mut stored = blob.ok_or_else(|| EngineError::Damaged(format!("the store has lost {key}")))?.stream;
        let (chunks, from) = incoming(max_compressed(self.settings().max_nar_bytes));
        let verifier = tokio::task::spawn_blocking(move || ingest::verify(from, &expectation));
        while let Some(chunk) = stored.try_next().await? {
            if chunks.send(chunk).await.is_err() {
                break;
            }
        }
        drop(chunks);
        Ok(verifier.await.map_err(|_| EngineError::Stopping)??)
    }

    /// What the path refers to that the cache does not have and an upstream has that its readers can reach.
    pub(crate) async fn servable_elsewhere(
        &self,
        cache: &ServedCache,
        caller: &Caller,
        new: &NewCachePath,
    ) -> Result<BTreeSet<StorePathHash>, EngineError> {
        let (id, wanted) = (cache.id, others(new));
        let asked = wanted.clone();
        let here = self.storage().read(async move |conn: &mut Conn| cache_paths::known(conn, id, &asked).await).await?;
        let absent = wanted.into_iter().filter(|hash| !here.contains(hash));
        let ask = async |hash| {
            let found = self.upstream_narinfo(cache, caller, hash).await?;
            Ok::<_, EngineError>(found.map(|_| hash))
        };
        stream::iter(absent).map(ask).buffer_unordered(ASKING).try_filter_map(async |found| Ok(found)).try_collect().await
    }

    /// Publishes a path of which everything was checked, as soon as all that it refers to is published or is among `elsewhere`. With
    /// `stored`, its NAR is new.
    pub(crate) async fn publish_checked(
        &self,
        cache: &ServedCache,
        new: NewCachePath,
        elsewhere: BTreeSet<StorePathHash>,
        stored: Option<Stored>,
    ) -> Result<PathUpload, EngineError> {
        let (id, now, wanted) = (cache.id, Moment::now(), others(&new));
        let publish = async move |conn: &mut Conn| {
            // Until the end, so that what is looked at stays there.
            caches::lock(conn, id).await?;
            if let Some(stored) = stored {
                stored.claim(conn).await?;
            }
            let here = cache_paths::known(conn, id, &wanted).await?;
            let missing: Vec<_> = wanted.into_iter().filter(|hash| !here.contains(hash) && !elsewhere.contains(hash)).collect();
            if missing.is_empty() {
                let published = cache_paths::publish(conn, id, vec![new], now).await?;
                return Ok((PathUpload::Published, published.hashes));
            }
            if pending_paths::count(conn, id).await? >= MAX_PENDING {
                let message = format!("{MAX_PENDING} paths of the cache wait for what they refer to; upload that first");
                return Err(EngineError::Conflict(message));
            }
            pending_paths::insert(conn, id, new, missing.clone(), now).await?;
            Ok((PathUpload::Pending(missing), Vec::new()))
        };
        let (became, published) = self.storage().try_transaction(publish).await?;
        self.paths_published(&[(id, published)]);
        Ok(became)
    }
}

/// That a path refers to these.
pub(crate) fn expectation(path: &StorePath, references: &BTreeSet<StorePath>, max_nar_bytes: u64) -> Expectation {
    let candidates = Candidates::new(references.iter().cloned().chain([path.clone()]));
    Expectation::new(path.clone(), candidates, max_nar_bytes)
}

/// Whether all of them were found.
pub(crate) fn all_found(
    path: &StorePath,
    references: &BTreeSet<StorePath>,
    verified: &VerifiedUpload,
) -> Result<(), IngestError> {
    match references.difference(&verified.nar.references).next().cloned() {
        Some(reference) => Err(IngestError::ReferenceNotFound { subject: Subject::Path(path.clone()), reference }),
        None => Ok(()),
    }
}

fn invalid(message: String) -> EngineError {
    EngineError::Invalid { field: "narinfo", message }
}

fn parse(hash: StorePathHash, narinfo: &[u8]) -> Result<DeclaredPath, EngineError> {
    let declared = DeclaredPath::parse(narinfo).map_err(|error| invalid(error.to_string()))?;
    if declared.path.hash() != hash {
        return Err(invalid(format!("it is about {}, and was sent for {hash}", declared.path)));
    }
    Ok(declared)
}

/// What a path refers to beside itself.
fn others(new: &NewCachePath) -> Vec<StorePathHash> {
    new.references.iter().filter(|reference| **reference != new.path).map(StorePath::hash).collect()
}

/// The signatures of both, each once, as many as are kept.
pub(super) fn merged(mut signatures: Vec<String>, new: Vec<String>) -> Vec<String> {
    for signature in new {
        if !signatures.contains(&signature) {
            signatures.push(signature);
        }
    }
    // The newest, so that somebody who signs again is not kept out by what came before.
    signatures.drain(..signatures.len().saturating_sub(MAX_SIGNATURES));
    signatures
}
