//! Takes in what an evaluation found: derivations that are recomputed before they are believed, and the graph they make.

mod found;

pub(crate) use found::Found;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use gradient_domain::{BuildId, BuildStatus, DerivationId, EntryPointId, Epoch, EvaluationId, Moment, OrganizationId};
use gradient_nix::{DerivationError, DerivationKind, InputDerivationHash, StorePath, VerifiedDerivation, derivation};
use gradient_protocol::{DerivationFile, EntryPoint, EvaluationMessage};
use gradient_scheduler::{BuildState, Event, NewBuild};
use gradient_storage::{
    Conn, StorageError,
    builds::{self, LatestBuild, NewBuild as BuildRow},
    derivations::{self, KnownDerivation, NewDerivation},
    evaluations,
};
use thiserror::Error;

use crate::{Engine, EngineError, changes::Change, durations::Durations, leases::Lease, publish};

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

/// Stores a part and hands the grown graph to the scheduler.
pub(crate) async fn ingest(
    engine: &Engine,
    evaluation: EvaluationId,
    lease: Lease,
    found: &mut Found,
    part: Part,
) -> Result<(), EngineError> {
    let organization = lease.organization;
    let before = found.take_of(evaluation, lease.epoch);
    let unknown: Vec<StorePath> = mentioned_paths(&part).into_iter().filter(|path| !before.contains_key(path)).collect();
    // What is known now is not removed before it is referred to.
    let looking = engine.ingesting().read().await;
    let known =
        engine.storage().read(async move |conn: &mut Conn| derivations::known(conn, organization, &unknown).await).await?;
    let hash_of = |path: &StorePath| {
        known.get(path).or_else(|| before.get(path).map(|(derivation, _)| derivation)).map(|derivation| derivation.input_hash)
    };
    let verified = verify(part.derivations, hash_of, engine.durations())?;
    check_entry_points(&part.entry_points, &verified, |path| hash_of(path).is_some())?;

    let (epoch, now) = (lease.epoch, Moment::now());
    let store = Store { organization, evaluation, epoch, now };
    let (entry_points, messages) = (part.entry_points, part.messages);
    let (builds, roots, after) = engine
        .storage()
        .transaction(async move |conn: &mut Conn| {
            builds::lock(conn).await?;
            let (builds, after) = store.graph(conn, &verified, known, before, &entry_points).await?;
            let roots = store.entry_points(conn, entry_points, &after).await?;
            store.messages(conn, messages).await?;
            Ok::<_, StorageError>((builds, roots, after))
        })
        .await?;
    drop(looking);
    found.keep(evaluation, epoch, after);
    publish::claim_ready_entry_points(engine, evaluation, organization, &roots).await?;
    engine.core().send(Event::BuildsAdded { evaluation, builds }).await;
    engine.core().send(Event::EntryPointsAdded { evaluation, builds: roots }).await;
    engine.changes().announce(Change::Evaluation(evaluation));
    Ok(())
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
    /// How long it is expected to build.
    expected: Duration,
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
        let fixed = matches!(derivation.kind(), DerivationKind::FixedOutput);
        let expected = durations.expect(derivation.name(), derivation.system(), fixed);
        checked.push(Checked { derivation, aterm: file.aterm, expected });
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

#[derive(Clone, Copy)]
struct Store {
    organization: OrganizationId,
    evaluation: EvaluationId,
    epoch: Epoch,
    now: Moment,
}

impl Store {
    /// Stores the part's derivations with their builds, which the evaluation needs from now on: for the scheduler, inputs first, and
    /// with all that was found before.
    async fn graph(
        self,
        conn: &mut Conn,
        verified: &[Checked],
        known: HashMap<StorePath, KnownDerivation>,
        mut found: found::Derivations,
        entry_points: &[EntryPoint],
    ) -> Result<(Vec<NewBuild>, found::Derivations), StorageError> {
        let mut fresh = known;
        let mut rows = Vec::new();
        for checked in verified {
            let derivation = &checked.derivation;
            if fresh.contains_key(derivation.path()) || found.contains_key(derivation.path()) {
                continue;
            }
            let id = DerivationId::new();
            let id_of = |path: &StorePath| {
                fresh.get(path).or_else(|| found.get(path).map(|(derivation, _)| derivation)).map(|derivation| derivation.id)
            };
            rows.push(self.derivation_row(id, checked, id_of));
            fresh.insert(derivation.path().clone(), KnownDerivation { id, input_hash: derivation.input_hash() });
        }
        // Another evaluation may have stored some of them since `known` was read; those keep their ids.
        for (path, id) in derivations::insert_many(conn, rows).await? {
            if let Some(derivation) = fresh.get_mut(&path) {
                derivation.id = id;
            }
        }

        let ids: Vec<DerivationId> = fresh.values().map(|derivation| derivation.id).collect();
        let mut latest = builds::latest(conn, &ids).await?;
        let id_of = |path: &StorePath| {
            fresh.get(path).or_else(|| found.get(path).map(|(derivation, _)| derivation)).map(|derivation| derivation.id)
        };
        let missing = self.missing_builds(verified, id_of, |path| {
            let before = found.get(path).map(|(_, build)| build);
            before.or_else(|| latest.get(&fresh.get(path)?.id))
        });
        latest.extend(missing.iter().map(|row| (row.derivation, LatestBuild::of_new(row))));
        builds::insert_many(conn, missing).await?;

        let build_of = |path: &StorePath| {
            let before = found.get(path).map(|(_, build)| build);
            before.or_else(|| latest.get(&fresh.get(path)?.id))
        };
        let sent = verified.iter().map(|checked| checked.derivation.path());
        let roots = entry_points.iter().filter_map(|entry_point| entry_point.outcome.as_ref().ok());
        let needed: HashSet<&StorePath> = sent.chain(roots).filter(|path| !found.contains_key(*path)).collect();
        let links: Vec<BuildId> = needed.iter().filter_map(|path| Some(build_of(path)?.build)).collect();
        builds::link(conn, self.evaluation, &links, self.now).await?;
        let builds = verified.iter().filter_map(|checked| self.node(checked, build_of)).collect();
        let new: Vec<_> =
            needed.into_iter().filter_map(|path| Some((path.clone(), (*fresh.get(path)?, *build_of(path)?)))).collect();
        found.extend(new);
        Ok((builds, found))
    }

    fn derivation_row(
        self,
        id: DerivationId,
        checked: &Checked,
        id_of: impl Fn(&StorePath) -> Option<DerivationId>,
    ) -> NewDerivation {
        let derivation = &checked.derivation;
        NewDerivation {
            id,
            organization: self.organization,
            drv_path: derivation.path().clone(),
            name: derivation.name().to_owned(),
            system: derivation.system().to_owned(),
            features: derivation.required_system_features(),
            aterm: checked.aterm.clone(),
            input_hash: derivation.input_hash(),
            outputs: derivation.outputs().clone(),
            inputs: derivation.input_derivations().keys().filter_map(id_of).collect(),
            created_at: self.now,
        }
    }

    /// A first or a new generation for each derivation whose newest build cannot serve this evaluation.
    fn missing_builds<'a>(
        self,
        verified: &[Checked],
        id_of: impl Fn(&StorePath) -> Option<DerivationId>,
        build_of: impl Fn(&StorePath) -> Option<&'a LatestBuild>,
    ) -> Vec<BuildRow> {
        let mut fresh: BTreeMap<DerivationId, BuildRow> = BTreeMap::new();
        let mut renewed: HashSet<&StorePath> = HashSet::new();
        for checked in verified {
            let derivation = &checked.derivation;
            let Some(id) = id_of(derivation.path()) else { continue };
            let has_failed = |input: &StorePath| !renewed.contains(input) && build_of(input).is_some_and(LatestBuild::has_failed);
            let is_kept_from_it = || derivation.input_derivations().keys().any(has_failed);
            let generation = match build_of(derivation.path()) {
                None => 1,
                Some(build) if build.status == BuildStatus::DependencyFailed && is_kept_from_it() => continue,
                Some(build) if build.status != BuildStatus::DependencyFailed && build.is_reusable() => continue,
                Some(build) => build.generation.saturating_add(1),
            };
            renewed.insert(derivation.path());
            let refused = match derivation.kind() {
                DerivationKind::Unsupported(reason) => Some(reason.to_string()),
                DerivationKind::InputAddressed | DerivationKind::FixedOutput => None,
            };
            let row = BuildRow {
                id: BuildId::new(),
                organization: self.organization,
                derivation: id,
                generation,
                unsupported: refused,
                queued_at: self.now,
            };
            fresh.insert(id, row);
        }
        fresh.into_values().collect()
    }

    fn node<'a>(self, checked: &Checked, build_of: impl Fn(&StorePath) -> Option<&'a LatestBuild>) -> Option<NewBuild> {
        let derivation = &checked.derivation;
        let latest = build_of(derivation.path())?;
        Some(NewBuild {
            build: latest.build,
            organization: self.organization,
            system: derivation.system().to_owned(),
            features: derivation.required_system_features(),
            dependencies: derivation.input_derivations().keys().filter_map(&build_of).map(|input| input.build).collect(),
            expected: checked.expected,
            state: if latest.status.is_final() {
                BuildState::Ended(latest.status)
            } else {
                BuildState::Queued { epoch: latest.epoch }
            },
        })
    }

    /// Stores the entry points and gives the builds of those that have one.
    async fn entry_points(
        self,
        conn: &mut Conn,
        entry_points: Vec<EntryPoint>,
        found: &found::Derivations,
    ) -> Result<Vec<BuildId>, StorageError> {
        let mut rows = Vec::with_capacity(entry_points.len());
        let mut errors = Vec::new();
        for entry_point in entry_points {
            let (build, error) = match entry_point.outcome {
                Ok(path) => (found.get(&path).map(|(_, build)| build.build), None),
                Err(error) => (None, Some(error)),
            };
            if let Some(error) = &error {
                errors.push(evaluations::NewMessage {
                    level: gradient_domain::MessageLevel::Error,
                    source: "nix".to_owned(),
                    attribute: Some(entry_point.attribute.clone()),
                    message: error.clone(),
                });
            }
            let (id, attribute, times) = (EntryPointId::new(), entry_point.attribute, entry_point.times.sound());
            rows.push(evaluations::NewEntryPoint { id, attribute, build, error, times });
        }
        let roots: Vec<BuildId> = rows.iter().filter_map(|row| row.build).collect();
        evaluations::insert_entry_points(conn, self.evaluation, rows, self.now).await?;
        evaluations::insert_messages(conn, self.evaluation, errors, self.now).await?;
        Ok(roots)
    }

    async fn messages(self, conn: &mut Conn, messages: Vec<EvaluationMessage>) -> Result<(), StorageError> {
        let rows = messages
            .into_iter()
            .map(|message| evaluations::NewMessage {
                level: message.level,
                source: message.source,
                attribute: message.attribute,
                message: message.message,
            })
            .collect();
        evaluations::insert_messages(conn, self.evaluation, rows, self.now).await?;
        evaluations::touch(conn, self.evaluation, self.epoch, self.now).await
    }
}
