//! Signatures by keys that the server does not have: workers make them.
//!
//! What is to be signed is in the database, beside each published path, until a signature that verifies is there. So nothing is
//! leased and nothing is lost: a worker that has the key is asked for some signatures at a time, and what it does not answer, or
//! answers wrongly, is asked for again.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gradient_cache_protocol::PathInfo;
use gradient_domain::{CacheId, CacheKeyId, OrganizationId, WorkerId};
use gradient_nix::{NarHash, PublicKey, StorePathHash};
use gradient_protocol::ToWorker;
use gradient_storage::{
    Conn, StorageError,
    cache_keys::CacheKey,
    cache_signatures::{self, Unsigned},
};
use tokio::sync::{Notify, oneshot};

use crate::{ConnectedWorker, Engine, EngineError, Shares, cache_keys::public_key};

/// Paths that a worker is asked to sign at a time.
const PATHS: i64 = 500;

/// The most bytes of references of what it is asked to sign, unless one path alone has more.
const BYTES: i64 = 1 << 20;

/// The most bytes of references of one path: what is signed has to fit into a message. It has tens of thousands of references. One
/// that has more is not signed.
const PATH_BYTES: i32 = 2 << 20;

/// How many paths that a cache had before a key are looked at, or of a retired key forgotten, in one transaction.
const STEP: i64 = 2000;

/// How long a worker may take to sign that.
const ANSWER: Duration = Duration::from_mins(1);

/// How long a worker is not asked again that did not answer, refused, or answered something else.
const SET_ASIDE: Duration = Duration::from_mins(5);

/// How many requests are on their way to one worker.
const ASKING_EACH: usize = 2;

/// How many are being read from the database, or the answers written to it; and those for one organization. However slow the workers
/// of others are, nobody waits for them here.
const AT_DATABASE: usize = 8;
const AT_DATABASE_EACH: usize = 2;

/// How often is looked whether there is something to sign that nobody told of.
const LOOK: Duration = Duration::from_secs(30);

/// What a worker answers: signatures, or why there are none.
type Answer = Result<Vec<String>, String>;

/// Who is being asked for signatures.
#[derive(Debug)]
pub(crate) struct Signing {
    something_to_sign: Notify,
    next: AtomicU64,
    asked: Mutex<HashMap<u64, (WorkerId, oneshot::Sender<Answer>)>>,
    /// Keys that somebody is being asked to sign with.
    busy: Mutex<HashSet<CacheKeyId>>,
    set_aside: Mutex<HashMap<(WorkerId, CacheKeyId), Instant>>,
    asking: Shares<WorkerId>,
    at_database: Shares<OrganizationId>,
}

/// Why paths of a cache are not signed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningWait {
    /// The organization whose workers have the key is gone.
    NoOrganization,
    /// No worker is connected that serves it and has the key.
    NoWorker,
    /// Those that are did not answer, or answered something else than signatures; they are asked again in a few minutes.
    NotSigned,
    /// They are being signed.
    Signing,
}

impl Signing {
    pub(crate) fn new() -> Self {
        Self {
            something_to_sign: Notify::new(),
            next: AtomicU64::new(0),
            asked: Mutex::default(),
            busy: Mutex::default(),
            set_aside: Mutex::default(),
            asking: Shares::new(usize::MAX, ASKING_EACH),
            at_database: Shares::new(AT_DATABASE, AT_DATABASE_EACH),
        }
    }

    /// To be called when something is to be signed, or somebody came who may sign.
    pub(crate) fn look(&self) {
        self.something_to_sign.notify_one();
    }

    /// To be called when a worker's session begins, and when it has ended: what it was asked before it does not answer any more. That
    /// it did not do well is not forgotten with it.
    pub(crate) fn forget_worker(&self, worker: WorkerId) {
        lock(&self.asked).retain(|_, (asked, _)| *asked != worker);
    }

    /// Takes what a worker answered. An answer that nobody waits for is of no interest.
    pub(crate) fn answered(&self, worker: WorkerId, number: u64, answer: Answer) {
        let mut asked = lock(&self.asked);
        if asked.get(&number).is_some_and(|(asked, _)| *asked == worker)
            && let Some((_, waiting)) = asked.remove(&number)
        {
            // Fails when it was waited for too long.
            let _ = waiting.send(answer);
        }
    }

    fn is_set_aside(&self, worker: WorkerId, key: CacheKeyId) -> bool {
        lock(&self.set_aside).get(&(worker, key)).is_some_and(|until| *until > Instant::now())
    }
}

/// Has things signed until the engine stops.
pub(crate) fn start(engine: Engine) {
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = engine.stopped() => return,
                () = engine.signing().something_to_sign.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            if let Err(error) = ask_all(&engine).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot look for what is to be signed");
            }
        }
    });
}

/// Asks somebody for each key that is to sign something, as far as there is somebody.
async fn ask_all(engine: &Engine) -> Result<(), EngineError> {
    lock(&engine.signing().set_aside).retain(|_, until| *until > Instant::now());
    let workers = engine.sessions().connected_which(can_sign);
    let texts: HashSet<&String> = workers.iter().flat_map(|worker| &worker.capabilities.signing_keys).collect();
    let public: Vec<Vec<u8>> =
        texts.iter().filter_map(|text| text.parse::<PublicKey>().ok()).map(|key| key.to_bytes().to_vec()).collect();
    if public.is_empty() {
        return Ok(());
    }
    let find = async move |conn: &mut Conn| cache_signatures::wanting(conn, &public).await;
    for key in engine.storage().read(find).await? {
        let public = public_key(&key)?;
        let may =
            |worker: &&ConnectedWorker| may_sign(worker, &key, &public) && !engine.signing().is_set_aside(worker.worker, key.id);
        let Some(worker) = workers.iter().find(may).map(|worker| worker.worker) else { continue };
        if lock(&engine.signing().busy).insert(key.id) {
            tokio::spawn(ask(engine.clone(), key, public, worker));
        }
    }
    Ok(())
}

/// Asks a worker for the next signatures of a key.
async fn ask(engine: Engine, key: CacheKey, public: PublicKey, worker: WorkerId) {
    let id = key.id;
    let asked = tokio::select! {
        asked = sign_next(&engine, &key, &public, worker) => asked,
        () = engine.stopped() => return,
    };
    let signing = engine.signing();
    lock(&signing.busy).remove(&id);
    match asked {
        Ok(None) => {}
        Ok(Some(paths)) => {
            tracing::debug!(key = %key.name, %worker, paths, "signed by a worker");
            signing.look();
        }
        Err(problem) => {
            tracing::warn!(key = %key.name, %worker, problem, "not signed; the worker is asked again in a few minutes");
            lock(&signing.set_aside).insert((worker, id), Instant::now() + SET_ASIDE);
            // There may be another one.
            signing.look();
        }
    }
}

/// How many paths the worker has signed before there may be more to sign; or what is wrong with the worker.
async fn sign_next(engine: &Engine, key: &CacheKey, public: &PublicKey, worker: WorkerId) -> Result<Option<usize>, String> {
    let signing = engine.signing();
    let Some(organization) = key.organization else { return Ok(None) };
    // Its own requests are before it.
    let Ok(_asking) = signing.asking.take(worker, ANSWER).await else { return Ok(Some(0)) };
    let Ok(at_database) = signing.at_database.take(organization, ANSWER).await else { return Ok(Some(0)) };
    let wanted = match next(engine, key).await {
        Ok(next) => fingerprints(next),
        Err(error) => return Ok(not_now(&error)),
    };
    drop(at_database);
    if wanted.is_empty() {
        return Ok(key.wanted_after.as_ref().map(|_| 0));
    }
    let Some(answer) = request(engine, worker, public, &wanted).await? else { return Ok(Some(0)) };
    let says = |why: String| format!("it says: {}", why.chars().filter(|c| !c.is_control()).take(200).collect::<String>());
    let signatures = verified(public, wanted, answer.map_err(says)?)?;
    let paths: Vec<StorePathHash> = signatures.iter().map(|(hash, ..)| *hash).collect();
    let (cache, id) = (key.cache, key.id);
    let set = async move |conn: &mut Conn| cache_signatures::set(conn, cache, id, signatures).await;
    let Ok(_at_database) = signing.at_database.take(organization, ANSWER).await else { return Ok(Some(0)) };
    if let Err(error) = engine.storage().transaction(set).await {
        return Ok(not_now(&error));
    }
    for hash in &paths {
        engine.forget_published_path(cache, *hash);
    }
    Ok(Some(paths.len()))
}

/// The next paths that are to be signed. What the cache had before the key is looked through on the way.
async fn next(engine: &Engine, key: &CacheKey) -> Result<Vec<Unsigned>, StorageError> {
    let (cache, id) = (key.cache, key.id);
    if key.wanted_after.is_some() {
        let want = async move |conn: &mut Conn| cache_signatures::want_more(conn, cache, id, STEP).await;
        engine.storage().transaction(want).await?;
    }
    let next = async move |conn: &mut Conn| cache_signatures::next(conn, id, PATHS, BYTES, PATH_BYTES).await;
    engine.storage().read(next).await
}

/// The database's fault is no worker's.
fn not_now(error: &StorageError) -> Option<usize> {
    tracing::warn!(error = error as &dyn std::error::Error, "signatures can be neither asked for nor kept now");
    None
}

/// A path's hash, that of its NAR, and what is to be signed of it.
type Fingerprint = (StorePathHash, NarHash, String);

fn fingerprints(next: Vec<Unsigned>) -> Vec<Fingerprint> {
    let of_path = |path: Unsigned| {
        let nar_size = u64::try_from(path.nar_size).unwrap_or_default();
        let fingerprint = PathInfo::fingerprint_of(&path.path, &path.nar_hash, nar_size, &path.references.into_iter().collect());
        (path.path.hash(), path.nar_hash, fingerprint)
    };
    next.into_iter().map(of_path).collect()
}

/// What the worker answers; nothing when it has gone.
async fn request(
    engine: &Engine,
    worker: WorkerId,
    public: &PublicKey,
    wanted: &[Fingerprint],
) -> Result<Option<Answer>, String> {
    let signing = engine.signing();
    let number = signing.next.fetch_add(1, Ordering::Relaxed);
    let (sender, answer) = oneshot::channel();
    lock(&signing.asked).insert(number, (worker, sender));
    let fingerprints = wanted.iter().map(|(.., fingerprint)| fingerprint.clone()).collect();
    engine.sessions().send(worker, ToWorker::Sign { number, key: public.to_string(), fingerprints });
    let answered = tokio::time::timeout(ANSWER, answer).await;
    lock(&signing.asked).remove(&number);
    match answered {
        Ok(answer) => Ok(answer.ok()),
        Err(_) => Err(format!("it did not answer within {} seconds", ANSWER.as_secs())),
    }
}

/// All signatures, when each is one by the key of what was asked for.
fn verified(
    public: &PublicKey,
    wanted: Vec<Fingerprint>,
    signatures: Vec<String>,
) -> Result<Vec<(StorePathHash, NarHash, String)>, String> {
    if signatures.len() != wanted.len() {
        return Err(format!("it was asked for {} signatures and sent {}", wanted.len(), signatures.len()));
    }
    let check = |((hash, nar_hash, fingerprint), signature): (Fingerprint, String)| {
        if public.verifies(&fingerprint, &signature) {
            Ok((hash, nar_hash, signature))
        } else {
            Err(format!("its signature of {hash} is wrong"))
        }
    };
    wanted.into_iter().zip(signatures).map(check).collect()
}

fn can_sign(worker: &ConnectedWorker) -> bool {
    !worker.draining && !worker.capabilities.signing_keys.is_empty()
}

/// Whether a worker has the key, and serves the organization whose workers are to sign with it.
fn may_sign(worker: &ConnectedWorker, key: &CacheKey, public: &PublicKey) -> bool {
    let has_it = worker.capabilities.signing_keys.contains(&public.to_string());
    can_sign(worker) && has_it && key.organization.is_some_and(|organization| worker.serves(organization))
}

impl Engine {
    /// Forgets what a retired key has signed, in steps that are in nobody's way.
    pub(crate) async fn forget_signatures(&self, cache: CacheId, key: CacheKeyId) -> Result<(), EngineError> {
        let delete = async move |conn: &mut Conn| cache_signatures::delete_some_of_retired(conn, cache, key, STEP).await;
        while self.storage().transaction(delete).await? {}
        Ok(())
    }

    /// Why paths are not signed by a key yet that a worker holds.
    pub(crate) fn signing_wait(&self, key: &CacheKey) -> Result<SigningWait, EngineError> {
        if key.organization.is_none() {
            return Ok(SigningWait::NoOrganization);
        }
        let public = public_key(key)?;
        let workers = self.sessions().connected_which(|worker| may_sign(worker, key, &public));
        if workers.is_empty() {
            return Ok(SigningWait::NoWorker);
        }
        let all_aside = workers.iter().all(|worker| self.signing().is_set_aside(worker.worker, key.id));
        Ok(if all_aside { SigningWait::NotSigned } else { SigningWait::Signing })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
