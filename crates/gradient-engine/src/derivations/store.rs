//! What is found, written down.

use std::collections::HashMap;

use gradient_domain::{
    BuildId, BuildStatus, DerivationId, EntryPointId, Epoch, EvaluationId, MessageLevel, Moment, OrganizationId,
};
use gradient_nix::{InputDerivationHash, StorePath, VerifiedDerivation};
use gradient_protocol::{EntryPoint, EvaluationMessage};
use gradient_scheduler::{BuildState, NewBuild};
use gradient_storage::{
    Conn, StorageError,
    builds::{self, Beginning, LatestBuild, NewBuild as BuildRow},
    derivations::{self, KnownDerivation, NewDerivation},
    evaluations,
};

use super::{
    Checked,
    found::{Memory, Reach},
    node::Node,
    plan::{Step, Verdict},
};

/// For which evaluation it is, found by which assignment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Store {
    pub(super) organization: OrganizationId,
    pub(super) evaluation: EvaluationId,
    pub(super) epoch: Epoch,
    pub(super) now: Moment,
}

/// Builds that the evaluation needs from now on.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// For the scheduler, inputs first.
    pub(super) builds: Vec<NewBuild>,
    /// How many of them are new and an upstream's.
    pub(super) substituted: usize,
}

impl Store {
    /// Stores a part's derivations, and remembers them with all that the part mentions.
    pub(super) async fn derivations(
        self,
        conn: &mut Conn,
        verified: Vec<Checked>,
        mut known: HashMap<StorePath, KnownDerivation>,
        mut memory: Memory,
    ) -> Result<Memory, StorageError> {
        let mut fresh: HashMap<StorePath, KnownDerivation> = HashMap::new();
        let mut rows = Vec::new();
        for checked in &verified {
            let derivation = &checked.derivation;
            let path = derivation.path();
            if let Some(known) = known.get_mut(path) {
                complete(conn, known, derivation).await?;
            }
            if known.contains_key(path) || fresh.contains_key(path) || memory.derivations.contains_key(path) {
                continue;
            }
            let id = DerivationId::new();
            let id_of = |path: &StorePath| {
                let given = fresh.get(path).or_else(|| known.get(path));
                given.or_else(|| Some(&memory.derivations.get(path)?.known)).map(|derivation| derivation.id)
            };
            rows.push(self.derivation_row(id, checked, id_of));
            fresh.insert(path.clone(), KnownDerivation { id, input_hash: derivation.input_hash() });
        }
        let mut earlier: Vec<DerivationId> = known.values().map(|derivation| derivation.id).collect();
        // Another evaluation may have stored some of them since `known` was read; those keep their ids.
        for (path, id) in derivations::insert_many(conn, rows).await? {
            if let Some(derivation) = fresh.get_mut(&path)
                && derivation.id != id
            {
                derivation.id = id;
                earlier.push(id);
            }
        }
        let latest = builds::latest(conn, &earlier).await?;
        earlier.retain(|id| !latest.contains_key(id));
        derivations::keep(conn, &earlier, self.now).await?;
        for (path, derivation) in known.into_iter().chain(fresh) {
            memory.add(path, derivation, latest.get(&derivation.id).copied(), None);
        }
        for checked in verified {
            if let Some(remembered) = memory.derivations.get_mut(checked.derivation.path())
                && remembered.reach == Reach::Unreached
            {
                remembered.node = Some(Box::new(checked.node));
            }
        }
        Ok(memory)
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

    /// Stores a part of a plan: the builds that the evaluation needs from now on. Nothing, when another evaluation has begun with
    /// something since the plan was made that changes it.
    pub(super) async fn builds(
        self,
        conn: &mut Conn,
        steps: &[Step],
        mut memory: Memory,
    ) -> Result<(Memory, Option<Stored>), StorageError> {
        builds::lock(conn).await?;
        let ids: Vec<DerivationId> = steps.iter().filter_map(|step| Some(memory.derivations.get(&step.path)?.known.id)).collect();
        let latest = builds::latest(conn, &ids).await?;
        let mut has_moved = false;
        for step in steps {
            let Some(remembered) = memory.derivations.get_mut(&step.path) else { continue };
            remembered.latest = latest.get(&remembered.known.id).copied();
            let is_underway = remembered.latest.is_some_and(|latest| !latest.status.is_final());
            has_moved |= step.is_leaf && step.verdict != Verdict::Behind && is_underway;
        }
        if has_moved {
            return Ok((memory, None));
        }
        let missing = self.missing_builds(steps, &mut memory);
        let substituted = missing.iter().filter(|row| row.beginning == Beginning::Substituted).count();
        builds::insert_many(conn, missing).await?;
        let (mut links, mut nodes) = (Vec::with_capacity(steps.len()), Vec::with_capacity(steps.len()));
        for step in steps {
            let Some(latest) = memory.derivations.get(&step.path).and_then(|remembered| remembered.latest) else { continue };
            if step.verdict == Verdict::Behind && !latest.status.is_success() {
                continue;
            }
            links.push(latest.build);
            nodes.extend(memory.node(&step.path).map(|node| self.node(node, &latest, &memory)));
        }
        builds::link(conn, self.evaluation, &links, self.now).await?;
        for step in steps {
            if let Some(remembered) = memory.derivations.get_mut(&step.path) {
                remembered.reach = if step.verdict == Verdict::Behind { Reach::Behind } else { Reach::Needed };
                remembered.node = None;
            }
        }
        Ok((memory, Some(Stored { builds: nodes, substituted })))
    }

    /// A first or a new generation for each derivation whose newest build cannot serve this evaluation.
    fn missing_builds(self, steps: &[Step], memory: &mut Memory) -> Vec<BuildRow> {
        let mut missing = Vec::new();
        for step in steps {
            let Some(remembered) = memory.derivations.get(&step.path) else { continue };
            let Some(node) = remembered.node.as_deref() else { continue };
            let Some(beginning) = beginning(step.verdict, node, remembered.latest.as_ref(), memory) else { continue };
            let row = BuildRow {
                id: BuildId::new(),
                organization: self.organization,
                derivation: remembered.known.id,
                generation: remembered.latest.map_or(1, |latest| latest.generation.saturating_add(1)),
                beginning,
                queued_at: self.now,
            };
            if let Some(remembered) = memory.derivations.get_mut(&step.path) {
                remembered.latest = Some(LatestBuild::of_new(&row));
            }
            missing.push(row);
        }
        missing
    }

    fn node(self, node: &Node, latest: &LatestBuild, memory: &Memory) -> NewBuild {
        let has_ended = latest.status.is_final();
        let build_of = |input: &StorePath| Some(memory.derivations.get(input)?.latest?.build);
        NewBuild {
            build: latest.build,
            organization: self.organization,
            system: node.system.clone(),
            features: node.features.clone(),
            dependencies: if has_ended { Vec::new() } else { node.inputs.iter().filter_map(build_of).collect() },
            expected: node.expected,
            state: if has_ended { BuildState::Ended(latest.status) } else { BuildState::Queued { epoch: latest.epoch } },
        }
    }

    /// Stores the entry points and gives the builds of those that have one.
    pub(super) async fn entry_points(
        self,
        conn: &mut Conn,
        entry_points: Vec<EntryPoint>,
        memory: &Memory,
    ) -> Result<Vec<BuildId>, StorageError> {
        let mut rows = Vec::with_capacity(entry_points.len());
        let mut errors = Vec::new();
        for entry_point in entry_points {
            let (build, error) = match entry_point.outcome {
                Ok(path) => (memory.derivations.get(&path).and_then(|found| found.latest).map(|latest| latest.build), None),
                Err(error) => (None, Some(error)),
            };
            if let Some(error) = &error {
                errors.push(evaluations::NewMessage {
                    level: MessageLevel::Error,
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

    pub(super) async fn messages(self, conn: &mut Conn, messages: Vec<EvaluationMessage>) -> Result<(), StorageError> {
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

/// Adds what an earlier version, which did not build such derivations, has not stored of one.
async fn complete(conn: &mut Conn, known: &mut KnownDerivation, derivation: &VerifiedDerivation) -> Result<(), StorageError> {
    if let (InputDerivationHash::Deferred(None), InputDerivationHash::Deferred(Some(hash))) =
        (known.input_hash, derivation.input_hash())
    {
        derivations::set_deferred(conn, known.id, hash, derivation.required_system_features()).await?;
        known.input_hash = derivation.input_hash();
    }
    Ok(())
}

/// How the build of a derivation begins that has no build yet that can serve.
fn beginning(verdict: Verdict, node: &Node, latest: Option<&LatestBuild>, memory: &Memory) -> Option<Beginning> {
    let has_failed = |input: &StorePath| {
        memory.derivations.get(input).and_then(|input| input.latest.as_ref()).is_some_and(LatestBuild::has_failed)
    };
    let serves = |latest: &LatestBuild| match (verdict, latest.status) {
        (Verdict::Substitute, status) => status.is_success(),
        (Verdict::Rebuild, BuildStatus::Substituted) => false,
        (_, BuildStatus::DependencyFailed) => node.inputs.iter().any(has_failed),
        _ => latest.is_reusable() && !node.was_refused(latest),
    };
    if verdict == Verdict::Behind || latest.is_some_and(serves) {
        return None;
    }
    let unsupported = || node.unsupported.clone().map_or(Beginning::Queued, Beginning::Unsupported);
    Some(if verdict == Verdict::Substitute { Beginning::Substituted } else { unsupported() })
}
