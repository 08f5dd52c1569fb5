//! Takes in what an evaluation found: derivations that are recomputed before they are believed, and the graph they make.

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
pub(crate) async fn ingest(engine: &Engine, evaluation: EvaluationId, lease: Lease, part: Part) -> Result<(), EngineError> {
    let organization = lease.organization;
    let mentioned = mentioned_paths(&part);
    // What is known now is not removed before it is referred to.
    let looking = engine.ingesting().read().await;
    let known =
        engine.storage().read(async move |conn: &mut Conn| derivations::known(conn, organization, &mentioned).await).await?;
    let verified = verify(part.derivations, &known, engine.durations())?;
    check_entry_points(&part.entry_points, &verified, &known)?;

    let (epoch, now) = (lease.epoch, Moment::now());
    let store = Store { organization, evaluation, epoch, now };
    let (entry_points, messages) = (part.entry_points, part.messages);
    let grown = engine
        .storage()
        .transaction(async move |conn: &mut Conn| {
            builds::lock(conn).await?;
            let grown = store.graph(conn, &verified, known).await?;
            let roots = store.entry_points(conn, entry_points, &grown).await?;
            store.messages(conn, messages).await?;
            Ok::<_, StorageError>((grown.builds, roots))
        })
        .await?;
    drop(looking);
    let (builds, roots) = grown;
    publish::claim_ready_entry_points(engine, evaluation, organization, &roots).await?;
    engine.core().send(Event::BuildsAdded { evaluation, builds }).await;
    engine.core().send(Event::EntryPointsAdded { evaluation, builds: roots }).await;
    engine.changes().announce(Change::Evaluation(evaluation));
    Ok(())
}

fn mentioned_paths(part: &Part) -> Vec<StorePath> {
    let mut mentioned: HashSet<StorePath> = part.derivations.iter().map(|file| file.path.clone()).collect();
    for file in &part.derivations {
        // What cannot be read is refused when it is verified.
        let Some(name) = file.path.name().strip_suffix(".drv") else { continue };
        if let Ok(read) = gradient_nix::Derivation::from_aterm_bytes(&file.aterm, name) {
            mentioned.extend(read.input_derivations().keys().cloned().map(StorePath::from));
        }
    }
    mentioned.extend(part.entry_points.iter().filter_map(|entry_point| entry_point.outcome.clone().ok()));
    mentioned.into_iter().collect()
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
    known: &HashMap<StorePath, KnownDerivation>,
    durations: &Durations,
) -> Result<Vec<Checked>, DerivationRefusal> {
    let mut hashes: HashMap<StorePath, InputDerivationHash> =
        known.iter().map(|(path, derivation)| (path.clone(), derivation.input_hash)).collect();
    let mut checked = Vec::with_capacity(files.len());
    for file in files {
        let derivation = derivation::verify(&file.path, &file.aterm, |input| hashes.get(input).copied())?;
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
    known: &HashMap<StorePath, KnownDerivation>,
) -> Result<(), DerivationRefusal> {
    let sent: HashSet<&StorePath> = verified.iter().map(|checked| checked.derivation.path()).collect();
    for entry_point in entry_points {
        if let Ok(path) = &entry_point.outcome
            && !sent.contains(path)
            && !known.contains_key(path)
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

/// The part of the graph that a report adds.
struct Grown {
    /// For the scheduler, inputs first.
    builds: Vec<NewBuild>,
    /// The build of each derivation mentioned.
    by_path: HashMap<StorePath, BuildId>,
}

impl Store {
    async fn graph(
        self,
        conn: &mut Conn,
        verified: &[Checked],
        known: HashMap<StorePath, KnownDerivation>,
    ) -> Result<Grown, StorageError> {
        let mut ids: HashMap<StorePath, DerivationId> =
            known.into_iter().map(|(path, derivation)| (path, derivation.id)).collect();
        let mut rows = Vec::new();
        for checked in verified {
            let derivation = &checked.derivation;
            if ids.contains_key(derivation.path()) {
                continue;
            }
            let id = DerivationId::new();
            rows.push(self.derivation_row(id, checked, &ids));
            ids.insert(derivation.path().clone(), id);
        }
        // Another evaluation may have stored some of them since `known` was read; those keep their ids.
        ids.extend(derivations::insert_many(conn, rows).await?);

        let all: Vec<DerivationId> = ids.values().copied().collect();
        let mut latest = builds::latest(conn, &all).await?;
        let fresh = self.missing_builds(verified, &ids, &latest);
        latest.extend(fresh.iter().map(|row| (row.derivation, LatestBuild::of_new(row))));
        builds::insert_many(conn, fresh).await?;

        let build_of = |path: &StorePath| ids.get(path).and_then(|id| latest.get(id));
        let links: Vec<BuildId> =
            verified.iter().filter_map(|checked| build_of(checked.derivation.path())).map(|latest| latest.build).collect();
        builds::link(conn, self.evaluation, &links, self.now).await?;
        let builds = verified.iter().filter_map(|checked| self.node(checked, build_of)).collect();
        let by_path = ids.iter().filter_map(|(path, id)| Some((path.clone(), latest.get(id)?.build))).collect();
        Ok(Grown { builds, by_path })
    }

    fn derivation_row(self, id: DerivationId, checked: &Checked, ids: &HashMap<StorePath, DerivationId>) -> NewDerivation {
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
            inputs: derivation.input_derivations().keys().filter_map(|input| ids.get(input).copied()).collect(),
            created_at: self.now,
        }
    }

    /// A first or a new generation for each derivation whose newest build cannot serve this evaluation.
    fn missing_builds(
        self,
        verified: &[Checked],
        ids: &HashMap<StorePath, DerivationId>,
        latest: &HashMap<DerivationId, LatestBuild>,
    ) -> Vec<BuildRow> {
        let mut fresh: BTreeMap<DerivationId, BuildRow> = BTreeMap::new();
        let mut renewed: HashSet<DerivationId> = HashSet::new();
        for checked in verified {
            let derivation = &checked.derivation;
            let Some(&id) = ids.get(derivation.path()) else { continue };
            let needs_renewed =
                || derivation.input_derivations().keys().filter_map(|p| ids.get(p)).any(|input| renewed.contains(input));
            let generation = match latest.get(&id) {
                None => 1,
                Some(build) if build.is_reusable() && !(build.status == BuildStatus::DependencyFailed && needs_renewed()) => {
                    continue;
                }
                Some(build) => build.generation.saturating_add(1),
            };
            renewed.insert(id);
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
        grown: &Grown,
    ) -> Result<Vec<BuildId>, StorageError> {
        let mut rows = Vec::with_capacity(entry_points.len());
        let mut errors = Vec::new();
        for entry_point in entry_points {
            let (build, error) = match entry_point.outcome {
                Ok(path) => (grown.by_path.get(&path).copied(), None),
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
            rows.push(evaluations::NewEntryPoint { id: EntryPointId::new(), attribute: entry_point.attribute, build, error });
        }
        let roots: Vec<BuildId> = rows.iter().filter_map(|row| row.build).collect();
        builds::link(conn, self.evaluation, &roots, self.now).await?;
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
