//! Builds that end at about the same time end in one transaction. Whoever moves builds has to be alone with them, and each commit waits
//! for the disk: one by one, a thousand builds that end at once would wait for it a thousand times.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use gradient_domain::{BuildId, CacheId, Epoch, Moment, OrganizationId};
use gradient_nix::StorePath;
use gradient_storage::{
    Conn, StorageError,
    attempts::{self, Success},
    builds::{self, BuildArtefact, Completion},
    derivations,
    paths::{self, StagedOutput},
    realisations, subscriptions,
};
use tokio::sync::{mpsc, oneshot};

use super::{Claimed, claim, organization_path};
use crate::{Engine, EngineError, build_context::BuildContext};

/// Builds that may wait to be ended. Beyond that their sessions wait.
const WAITING: usize = 1024;

/// Builds in one transaction.
const BUILDS: usize = 128;

/// A build whose outputs were found to be what they should be.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) build: BuildId,
    pub(super) epoch: Epoch,
    pub(super) context: Arc<BuildContext>,
    /// Where they are, by name.
    pub(super) outputs: Vec<(String, StorePath)>,
    pub(super) staged: Vec<StagedOutput>,
    pub(super) artefacts: Vec<BuildArtefact>,
    pub(super) build_ms: u64,
    pub(super) log_bytes: u64,
    /// Whether there is a log to be put away.
    pub(super) has_log: bool,
}

/// Somebody's build, and who wants to know whether it was its assignment's to end.
#[derive(Debug)]
pub(crate) struct Request(Arc<Ended>, oneshot::Sender<Result<bool, StorageError>>);

/// Where builds are ended.
#[derive(Debug)]
pub(crate) struct Completions(mpsc::Sender<Request>);

impl Completions {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, inbox) = mpsc::channel(WAITING);
        (Self(sender), inbox)
    }

    /// Whether it was its assignment's to end.
    pub(super) async fn end(&self, ended: Ended) -> Result<bool, EngineError> {
        let (sender, outcome) = oneshot::channel();
        self.0.send(Request(Arc::new(ended), sender)).await.map_err(|_| EngineError::Stopping)?;
        Ok(outcome.await.map_err(|_| EngineError::Stopping)??)
    }
}

/// Ends builds as long as the engine is there.
pub(crate) fn start(engine: Engine, mut inbox: mpsc::Receiver<Request>) {
    tokio::spawn(async move {
        let mut requests = Vec::with_capacity(BUILDS);
        while inbox.recv_many(&mut requests, BUILDS).await > 0 {
            serve(&engine, std::mem::take(&mut requests)).await;
        }
    });
}

async fn serve(engine: &Engine, requests: Vec<Request>) {
    let mut builds = HashSet::new();
    let (together, mut alone): (Vec<_>, Vec<_>) = requests.into_iter().partition(|Request(ended, _)| builds.insert(ended.build));
    match write(engine, together.iter().map(|Request(ended, _)| Arc::clone(ended)).collect()).await {
        Ok(completed) => {
            for Request(ended, answer) in together {
                // Whoever asked may be gone.
                let _ = answer.send(Ok(completed.contains(&ended.build)));
            }
        }
        // None of them is the reason, and one by one each would wait as long again.
        Err(error @ (StorageError::Unavailable(_) | StorageError::Fenced)) => {
            for Request(_, answer) in together {
                let same = match &error {
                    StorageError::Fenced => StorageError::Fenced,
                    error => StorageError::Unavailable(error.to_string().into()),
                };
                let _ = answer.send(Err(same));
            }
        }
        // One of them may be the reason: the others are not to suffer from it.
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot end builds together; ending them one by one");
            alone.splice(0..0, together);
        }
    }
    for Request(ended, answer) in alone {
        let build = ended.build;
        let _ = answer.send(write(engine, vec![ended]).await.map(|completed| completed.contains(&build)));
    }
}

/// Ends those that are their assignments' to end; which those are. Readers find what caches got as soon as this is over.
async fn write(engine: &Engine, ended: Vec<Arc<Ended>>) -> Result<HashSet<BuildId>, StorageError> {
    let now = Moment::now();
    let end = async move |conn: &mut Conn| {
        let completions: Vec<Completion> = ended.iter().map(|ended| ended.completion()).collect();
        let completed = builds::complete_many(conn, &completions, now).await?;
        let mut organizations: BTreeMap<OrganizationId, Vec<paths::NewOrganizationPath>> = BTreeMap::new();
        let mut successes = Vec::with_capacity(completed.len());
        for ended in ended.iter().filter(|ended| completed.contains(&ended.build)) {
            let published = ended.staged.iter().map(|output| organization_path(output, &ended.context));
            organizations.entry(ended.context.organization).or_default().extend(published);
            if let Some(resolution) = &ended.context.resolution {
                derivations::set_output_paths(conn, ended.context.derivation, &ended.outputs).await?;
                let realised = resolution.realisations(&ended.outputs);
                realisations::set_many(conn, ended.context.organization, realised, now).await?;
            }
            builds::insert_artefacts(conn, ended.build, ended.artefacts.clone()).await?;
            successes.push(ended.success());
        }
        attempts::set_succeeded_many(conn, successes, now).await?;
        for (organization, published) in organizations {
            paths::insert_many(conn, organization, published, now).await?;
        }
        let ids: Vec<BuildId> = completed.iter().copied().collect();
        paths::delete_staged_of(conn, &ids).await?;
        let wanted = builds::are_published(conn, &ids).await?;
        let claimed = claim_all(conn, ended.iter().filter(|ended| wanted.contains(&ended.build)).map(Arc::as_ref).collect(), now);
        Ok::<_, StorageError>((completed, claimed.await?))
    };
    let (completed, claimed) = engine.storage().grouped(end).await?;
    engine.paths_published(&claimed);
    Ok(completed)
}

/// Gives the caches of each organization their claims on its builds. Caches are locked in the order in which everybody locks them.
async fn claim_all(conn: &mut Conn, ended: Vec<&Ended>, now: Moment) -> Result<Claimed, StorageError> {
    let mut roots: HashMap<OrganizationId, Vec<StorePath>> = HashMap::new();
    for ended in ended {
        let outputs = ended.outputs.iter().map(|(_, path)| path.clone());
        roots.entry(ended.context.organization).or_default().extend(outputs);
    }
    let mut wanted: BTreeSet<(CacheId, OrganizationId)> = BTreeSet::new();
    for &organization in roots.keys() {
        let caches = subscriptions::writable_caches(conn, organization).await?;
        wanted.extend(caches.into_iter().map(|cache| (cache, organization)));
    }
    let mut claimed = Claimed::new();
    for (cache, organization) in wanted {
        let roots = roots.get(&organization).cloned().unwrap_or_default();
        claimed.extend(claim(conn, organization, &[cache], roots, now).await?);
    }
    Ok(claimed)
}

impl Ended {
    fn completion(&self) -> Completion {
        let duration_ms = i64::try_from(self.build_ms).unwrap_or(i64::MAX);
        Completion { build: self.build, epoch: self.epoch, duration_ms }
    }

    fn success(&self) -> Success {
        let log_bytes = i64::try_from(self.log_bytes).unwrap_or(i64::MAX);
        let log_frames = (!self.has_log).then(Vec::new);
        Success { build: self.build, epoch: self.epoch, log_bytes, log_frames }
    }
}
