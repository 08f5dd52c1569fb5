//! Takes in what an evaluation found: derivations that are recomputed before they are believed, and the graph they make.

mod behind;
mod found;
mod known;
mod node;
mod plan;
mod store;

use std::collections::{HashMap, HashSet};

use gradient_domain::{BuildStatus, EvaluationId, MessageLevel, Moment};
use gradient_nix::{DerivationError, InputDerivationHash, StorePath, VerifiedDerivation, derivation};
use gradient_protocol::{DerivationFile, EntryPoint, EvaluationMessage};
use gradient_scheduler::{Event, NewBuild};
use gradient_storage::{Conn, StorageError, builds, derivations};
use thiserror::Error;

pub(crate) use self::found::Found;
use self::{found::Memory, node::Node, plan::Plan, store::Store};
use crate::{Engine, EngineError, changes::Change, durations::Durations, leases::Lease, measures, publish};

/// Builds that are added in one transaction.
const STEPS: usize = 1_000;

/// A part of an evaluation, as a worker reports it.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) derivations: Vec<DerivationFile>,
    pub(crate) entry_points: Vec<EntryPoint>,
    pub(crate) messages: Vec<EvaluationMessage>,
}

/// Why a part is refused, and the evaluation with it.
#[derive(Debug, Error)]
pub enum DerivationRefusal {
    /// A derivation is not what it claims to be.
    #[error(transparent)]
    Derivation(#[from] DerivationError),
    /// An entry point names a derivation that was not sent.
    #[error("entry point {attribute} names {derivation}, which was not sent")]
    UnknownEntryPoint {
        /// The attribute path.
        attribute: String,
        /// The derivation it names.
        derivation: StorePath,
    },
}

/// Stores a part and hands the grown graph to the scheduler: all that entry points need, once they are known.
pub(crate) async fn ingest(
    engine: &Engine,
    evaluation: EvaluationId,
    lease: Lease,
    found: &mut Found,
    part: Part,
) -> Result<(), EngineError> {
    let organization = lease.organization;
    let before = found.take_of(evaluation, lease.epoch);
    let is_unknown = |path: &StorePath| !before.derivations.contains_key(path);
    let unknown: Vec<StorePath> = mentioned_paths(&part).into_iter().filter(is_unknown).collect();
    // What is known now is not removed before it is kept.
    let looking = engine.ingesting().read().await;
    let known =
        engine.storage().read(async move |conn: &mut Conn| derivations::known(conn, organization, &unknown).await).await?;
    let hash_of = |path: &StorePath| {
        known.get(path).or_else(|| Some(&before.derivations.get(path)?.known)).map(|derivation| derivation.input_hash)
    };
    let verified = verify(part.derivations, hash_of, engine.durations())?;
    check_entry_points(&part.entry_points, &verified, |path| hash_of(path).is_some())?;

    let (epoch, now) = (lease.epoch, Moment::now());
    let store = Store { organization, evaluation, epoch, now };
    let keep = async move |conn: &mut Conn| store.derivations(conn, verified, known, before).await;
    let memory = engine.storage().transaction(keep).await?;
    drop(looking);

    let told = memory.silent.clone();
    let (memory, builds) = need(engine, store, memory, &part.entry_points).await?;
    let silent: Vec<String> = memory.silent.difference(&told).cloned().collect();
    let (entry_points, messages) = (part.entry_points, part.messages.into_iter().chain(silent.iter().map(silence)).collect());
    let say = async move |conn: &mut Conn| {
        builds::lock(conn).await?;
        let roots = store.entry_points(conn, entry_points, &memory).await?;
        store.messages(conn, messages).await?;
        Ok::<_, StorageError>((roots, memory))
    };
    let (roots, memory) = engine.storage().transaction(say).await?;
    found.keep(evaluation, epoch, memory);
    // Not before their entry points are stored: how long a builder may run is theirs to say.
    for builds in builds {
        engine.core().send(Event::BuildsAdded { evaluation, builds }).await;
    }
    publish::claim_ready_entry_points(engine, evaluation, organization, &roots).await?;
    engine.core().send(Event::EntryPointsAdded { evaluation, builds: roots }).await;
    engine.changes().announce(Change::Evaluation(evaluation));
    Ok(())
}

/// Gives the evaluation the builds that its entry points need; the scheduler is to be told of them, in this order.
async fn need(
    engine: &Engine,
    store: Store,
    mut memory: Memory,
    entry_points: &[EntryPoint],
) -> Result<(Memory, Vec<Vec<NewBuild>>), EngineError> {
    let (organization, mut builds) = (store.organization, Vec::new());
    let mut roots: Vec<StorePath> = entry_points.iter().filter_map(|entry_point| entry_point.outcome.clone().ok()).collect();
    roots.sort();
    roots.dedup();
    let mut has_moved = !roots.is_empty();
    while has_moved {
        has_moved = false;
        let Plan { steps, behind } = plan::plan(engine, organization, &mut memory, &roots).await?;
        for chunk in steps.chunks(STEPS) {
            let (steps, before) = (chunk.to_vec(), memory);
            let add = async move |conn: &mut Conn| store.builds(conn, &steps, before).await;
            let stored;
            (memory, stored) = engine.storage().transaction(add).await?;
            let Some(stored) = stored else {
                has_moved = true;
                break;
            };
            for _ in 0..stored.substituted {
                measures::build_finished(BuildStatus::Substituted);
            }
            builds.push(stored.builds);
        }
        if !has_moved {
            behind::link(engine, store, &mut memory, behind).await?;
        }
    }
    Ok((memory, builds))
}

/// What there is to say of an upstream that does not answer.
fn silence(url: &String) -> EvaluationMessage {
    EvaluationMessage {
        level: MessageLevel::Warning,
        source: "upstream".to_owned(),
        attribute: None,
        message: format!("the upstream {url} did not answer; what only it may have is built"),
    }
}

fn mentioned_paths(part: &Part) -> HashSet<StorePath> {
    let mut mentioned: HashSet<StorePath> = part.derivations.iter().map(|file| file.path.clone()).collect();
    for file in &part.derivations {
        // What cannot be read is refused when it is verified.
        let Some(name) = file.path.name().strip_suffix(".drv") else { continue };
        if let Ok(read) = gradient_nix::Derivation::from_aterm_bytes(&file.aterm, name) {
            mentioned.extend(read.input_derivations().keys().cloned().map(StorePath::from));
        }
    }
    mentioned.extend(part.entry_points.iter().filter_map(|entry_point| entry_point.outcome.clone().ok()));
    mentioned
}

/// A derivation with its bytes.
struct Checked {
    derivation: VerifiedDerivation,
    aterm: Vec<u8>,
    node: Node,
}

fn verify(
    files: Vec<DerivationFile>,
    known: impl Fn(&StorePath) -> Option<InputDerivationHash>,
    durations: &Durations,
) -> Result<Vec<Checked>, DerivationRefusal> {
    let mut hashes: HashMap<StorePath, InputDerivationHash> = HashMap::with_capacity(files.len());
    let mut checked = Vec::with_capacity(files.len());
    for file in files {
        let derivation =
            derivation::verify(&file.path, &file.aterm, |input| hashes.get(input).copied().or_else(|| known(input)))?;
        hashes.insert(file.path, derivation.input_hash());
        let node = Node::new(&derivation, durations);
        checked.push(Checked { derivation, aterm: file.aterm, node });
    }
    Ok(checked)
}

fn check_entry_points(
    entry_points: &[EntryPoint],
    verified: &[Checked],
    is_known: impl Fn(&StorePath) -> bool,
) -> Result<(), DerivationRefusal> {
    let sent: HashSet<&StorePath> = verified.iter().map(|checked| checked.derivation.path()).collect();
    for entry_point in entry_points {
        if let Ok(path) = &entry_point.outcome
            && !sent.contains(path)
            && !is_known(path)
        {
            let (attribute, derivation) = (entry_point.attribute.clone(), path.clone());
            return Err(DerivationRefusal::UnknownEntryPoint { attribute, derivation });
        }
    }
    Ok(())
}
