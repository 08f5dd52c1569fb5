//! From the staged outputs of a finished build to store paths that others may use: one transaction, or nothing.

mod completions;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use gradient_domain::{BuildId, BuildStatus, CacheId, EvaluationId, Job, Moment, OrganizationId};
use gradient_nix::{StorePath, StorePathHash};
use gradient_protocol::BuiltOutput;
use gradient_scheduler::Event;
use gradient_storage::{
    Conn, StorageError, builds,
    cache_paths::{self, NewCachePath},
    caches, derivations, logs as rows,
    paths::{self, OrganizationPath, StagedOutput},
    realisations, subscriptions,
};
use thiserror::Error;

use self::completions::Ended;
pub(crate) use self::completions::{Completions, start};
use crate::{
    Engine, EngineError,
    build_context::{BuildContext, ExpectedOutput, Place},
    cache_uploads, downloads,
    leases::Lease,
    logs, results,
};

/// What a worker says of a build that it has finished.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) outputs: Vec<BuiltOutput>,
    pub(crate) build_ms: u64,
    pub(crate) log_bytes: u64,
}

/// Why the outputs of a build are not believed.
#[derive(Debug, Error)]
pub enum OutputRefusal {
    /// The set of outputs is not the derivation's.
    #[error("the worker reported the outputs {reported}, but the derivation has {expected}")]
    Outputs {
        /// Names and paths as reported.
        reported: String,
        /// As the derivation has them.
        expected: String,
    },
    /// An output was not uploaded under this assignment.
    #[error("output {path} was not uploaded")]
    NotUploaded {
        /// The path.
        path: StorePath,
    },
    /// An output refers to something that the build has nothing to do with.
    #[error("output {path} refers to {reference}, which is neither an input nor an output of the build")]
    Foreign {
        /// The path.
        path: StorePath,
        /// What it refers to.
        reference: StorePath,
    },
    /// The upload is another than the one reported.
    #[error("output {path} was reported with {field} {reported}, but the upload has {found}")]
    Differs {
        /// The path.
        path: StorePath,
        /// What differs.
        field: &'static str,
        /// As reported.
        reported: String,
        /// As found in the bytes.
        found: String,
    },
}

/// Makes the outputs of a build its organization's, and its caches', and the build `Completed`.
pub(crate) async fn publish(engine: &Engine, build: BuildId, lease: Lease, finished: Finished) -> Result<(), EngineError> {
    let (epoch, log_bytes) = (lease.epoch, finished.log_bytes);
    let standing = async move |conn: &mut Conn| {
        // The worker says that it had nothing to say; that it has said nothing is here.
        let has_log = log_bytes > 0 || rows::length(conn, build, epoch).await? > 0;
        Ok::<_, StorageError>((builds::find(conn, build).await?, paths::list_staged(conn, build, epoch).await?, has_log))
    };
    let (standing, staged, has_log) = engine.storage().read(standing).await?;
    let bytes = finished.outputs.iter().map(|output| output.nar_size).fold(0, u64::saturating_add);
    if standing.status == BuildStatus::Completed && standing.epoch == epoch {
        return publish_again(engine, build, lease, bytes).await;
    }
    let context = engine.build_context(build).await?;
    engine.confirm_inputs(&context).await?;
    check(&context, &finished.outputs, &staged)?;
    let staged = reported_ones(&finished.outputs, staged);
    let artefacts = downloads::offered(engine, &staged).await?;

    let build_ms = finished.build_ms;
    let outputs = finished.outputs.into_iter().map(|output| (output.name, output.path)).collect();
    let ended = Ended { build, epoch, context: Arc::clone(&context), outputs, staged, artefacts, build_ms, log_bytes, has_log };
    let completed = engine.completions().end(ended).await?;
    engine.build_contexts().forget(build);
    if has_log {
        logs::finish_later(engine, build, epoch);
    }
    if completed {
        engine.durations().record(&context.name, &context.system, context.fixed, Duration::from_millis(build_ms));
        results::completed(engine, build, lease, bytes).await;
    } else {
        // It has moved on in the database, and whoever decided so may not have been told yet that this worker is done with it.
        let (job, worker) = (Job::Build(build), lease.worker);
        engine.core().send(Event::JobStopped { job, epoch, worker }).await;
    }
    Ok(())
}

/// The outputs are durable since the last report of the same, but nobody heard of it: the connection to the database, or this server,
/// was gone before the answer came.
async fn publish_again(engine: &Engine, build: BuildId, lease: Lease, bytes: u64) -> Result<(), EngineError> {
    let (context, now) = (engine.build_context(build).await?, Moment::now());
    let claim = async move |conn: &mut Conn| claim_if_wanted(conn, build, &context, now).await;
    let claimed = engine.storage().transaction(claim).await?;
    engine.build_contexts().forget(build);
    logs::finish_later(engine, build, lease.epoch);
    engine.paths_published(&claimed);
    results::completed(engine, build, lease, bytes).await;
    Ok(())
}

/// Whether outputs that have not come yet could be those of the derivation.
pub(crate) fn check_made(context: &BuildContext, made: &[BuiltOutput]) -> Result<(), OutputRefusal> {
    check_names(context, made)?;
    let candidates: HashSet<StorePath> = context.reference_candidates().into_iter().collect();
    for output in made {
        if let Some(reference) = output.references.iter().find(|reference| !candidates.contains(reference)) {
            return Err(OutputRefusal::Foreign { path: output.path.clone(), reference: reference.clone() });
        }
    }
    Ok(())
}

fn check(context: &BuildContext, reported: &[BuiltOutput], staged: &[StagedOutput]) -> Result<(), OutputRefusal> {
    check_names(context, reported)?;
    check_siblings(context, reported)?;
    for output in reported {
        let path = || output.path.clone();
        let found =
            staged.iter().find(|staged| staged.path == output.path).ok_or_else(|| OutputRefusal::NotUploaded { path: path() })?;
        if found.nar_hash != output.nar_hash {
            let (reported, found) = (output.nar_hash.to_string(), found.nar_hash.to_string());
            return Err(OutputRefusal::Differs { path: path(), field: "NarHash", reported, found });
        }
        let declared: BTreeSet<_> = output.references.iter().collect();
        let scanned: BTreeSet<_> = found.references.iter().collect();
        if declared != scanned {
            let list = |paths: BTreeSet<&StorePath>| paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            return Err(OutputRefusal::Differs {
                path: path(),
                field: "references",
                reported: list(declared),
                found: list(scanned),
            });
        }
    }
    Ok(())
}

/// Whether exactly the derivation's outputs are named.
fn check_names(context: &BuildContext, reported: &[BuiltOutput]) -> Result<(), OutputRefusal> {
    let is_there =
        |expected: &ExpectedOutput| reported.iter().any(|output| output.name == expected.name && expected.may_be(&output.path));
    if reported.len() == context.outputs.len() && context.outputs.iter().all(is_there) {
        return Ok(());
    }
    let reported: BTreeSet<String> = reported.iter().map(|output| format!("{}={}", output.name, output.path)).collect();
    let expected = context.outputs.iter().map(|output| match &output.place {
        Place::Known(path, _) => format!("{}={path}", output.name),
        Place::ContentAddressed { name, .. } => format!("{}=…-{name}", output.name),
    });
    let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(" ");
    Err(OutputRefusal::Outputs { reported: list(reported), expected: list(expected.collect()) })
}

/// Whether outputs whose paths follow from their content, and could not be looked for by them, refer to inputs and each other only.
fn check_siblings(context: &BuildContext, reported: &[BuiltOutput]) -> Result<(), OutputRefusal> {
    if context.outputs.iter().all(|output| output.path().is_some()) {
        return Ok(());
    }
    let mut allowed: HashSet<StorePath> = context.reference_candidates().into_iter().collect();
    allowed.extend(reported.iter().map(|output| output.path.clone()));
    for output in reported {
        if let Some(reference) = output.references.iter().find(|reference| !allowed.contains(reference)) {
            return Err(OutputRefusal::Foreign { path: output.path.clone(), reference: reference.clone() });
        }
    }
    Ok(())
}

/// What was uploaded of what is reported: where content decides on the path, more may have come.
fn reported_ones(reported: &[BuiltOutput], mut staged: Vec<StagedOutput>) -> Vec<StagedOutput> {
    staged.retain(|staged| reported.iter().any(|output| output.path == staged.path));
    staged
}

fn organization_path(output: &StagedOutput, context: &BuildContext) -> paths::NewOrganizationPath {
    paths::NewOrganizationPath {
        path: output.path.clone(),
        nar_hash: output.nar_hash,
        references: output.references.clone(),
        deriver: Some(context.drv_path.clone()),
        content_address: output.content_address.clone(),
    }
}

/// What caches have now that they did not have before, or had already.
pub(crate) type Claimed = Vec<(CacheId, Vec<StorePathHash>)>;

/// An entry point's closure goes to the caches once it is built; with `publish: all` every output does.
async fn claim_if_wanted(conn: &mut Conn, build: BuildId, context: &BuildContext, now: Moment) -> Result<Claimed, StorageError> {
    if !builds::is_published(conn, build).await? {
        return Ok(Claimed::new());
    }
    let caches = subscriptions::writable_caches(conn, context.organization).await?;
    let outputs = derivations::outputs(conn, &[context.derivation]).await?;
    let roots = outputs.into_values().flatten().filter_map(|(_, path)| path).collect();
    claim(conn, context.organization, &caches, roots, now).await
}

/// Gives caches a claim on everything that `roots` need at run time.
pub(crate) async fn claim(
    conn: &mut Conn,
    organization: OrganizationId,
    caches: &[CacheId],
    roots: Vec<StorePath>,
    now: Moment,
) -> Result<Claimed, StorageError> {
    let mut claimed = Claimed::new();
    if roots.is_empty() {
        return Ok(claimed);
    }
    for &cache in caches {
        let rows = unclaimed(conn, organization, cache, roots.clone()).await?;
        let paths: Vec<StorePath> = rows.iter().map(|row| row.path.clone()).collect();
        claimed.push((cache, cache_paths::publish(conn, cache, rows, now).await?.hashes));
        for realisation in realisations::of_paths(conn, organization, &paths).await? {
            cache_uploads::keep_built_realisation(conn, cache, realisation, now).await?;
        }
    }
    Ok(claimed)
}

/// The roots, and what they need that the cache does not have. What it has is not looked into: a cache has the closure of all it has,
/// and nothing goes from it while this transaction decides.
async fn unclaimed(
    conn: &mut Conn,
    organization: OrganizationId,
    cache: CacheId,
    roots: Vec<StorePath>,
) -> Result<Vec<NewCachePath>, StorageError> {
    let mut rows = Vec::new();
    if !caches::lock(conn, cache).await? {
        return Ok(rows);
    }
    let mut seen: HashSet<StorePath> = roots.iter().cloned().collect();
    let mut wave = roots;
    while !wave.is_empty() {
        let mut next = Vec::new();
        for path in paths::find_many(conn, organization, &wave).await? {
            next.extend(path.references.iter().filter(|reference| seen.insert((*reference).clone())).cloned());
            rows.push(claim_on(path));
        }
        let hashes: Vec<StorePathHash> = next.iter().map(StorePath::hash).collect();
        let known = cache_paths::known(conn, cache, &hashes).await?;
        next.retain(|path| !known.contains(&path.hash()));
        wave = next;
    }
    Ok(rows)
}

fn claim_on(path: OrganizationPath) -> NewCachePath {
    NewCachePath {
        path: path.path,
        nar_hash: path.nar_hash,
        references: path.references,
        deriver: path.deriver,
        content_address: path.content_address,
        foreign_signatures: Vec::new(),
    }
}

/// Claims for entry points whose builds had ended before this evaluation needed them.
pub(crate) async fn claim_ready_entry_points(
    engine: &Engine,
    evaluation: EvaluationId,
    organization: OrganizationId,
    entry_points: &[BuildId],
) -> Result<(), EngineError> {
    if entry_points.is_empty() {
        return Ok(());
    }
    let now = Moment::now();
    let claimed = engine
        .storage()
        .transaction(async move |conn: &mut Conn| {
            let caches = subscriptions::writable_caches(conn, organization).await?;
            let roots = builds::published_outputs(conn, evaluation).await?;
            claim(conn, organization, &caches, roots, now).await
        })
        .await?;
    engine.paths_published(&claimed);
    Ok(())
}
