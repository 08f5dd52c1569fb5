use std::{collections::HashMap, time::Duration};

use gradient_domain::{FailureKind, OrganizationId};
use gradient_nix::{DerivationKind, StorePath, VerifiedDerivation, derivation};
use gradient_storage::{
    Conn,
    builds::{self, LatestBuild},
    derivations::{self, Derivation, KnownDerivation},
};

use super::{DerivationRefusal, found::Memory};
use crate::{Engine, EngineError, durations::Durations};

/// What decides about the build of a derivation.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) system: String,
    pub(super) features: Vec<String>,
    pub(super) expected: Duration,
    /// Why it can never be built.
    pub(super) unsupported: Option<String>,
    pub(super) inputs: Vec<StorePath>,
    /// What it makes; nothing when the path of an output is not known before.
    pub(super) outputs: Option<Vec<StorePath>>,
}

impl Node {
    pub(super) fn new(derivation: &VerifiedDerivation, durations: &Durations) -> Self {
        let fixed = matches!(derivation.kind(), DerivationKind::FixedOutput);
        let unsupported = match derivation.kind() {
            DerivationKind::Unsupported(reason) => Some(reason.to_string()),
            DerivationKind::InputAddressed
            | DerivationKind::FixedOutput
            | DerivationKind::ContentAddressed
            | DerivationKind::Deferred => None,
        };
        Self {
            system: derivation.system().to_owned(),
            features: derivation.required_system_features(),
            expected: durations.expect(derivation.name(), derivation.system(), fixed),
            unsupported,
            inputs: derivation.input_derivations().keys().cloned().collect(),
            outputs: derivation.outputs().values().cloned().collect(),
        }
    }
}

impl Node {
    /// Whether an earlier version could not build it, and this one can.
    pub(super) fn was_refused(&self, latest: &LatestBuild) -> bool {
        latest.failure == Some(FailureKind::UnsupportedDerivation) && self.unsupported.is_none()
    }
}

/// Reads what is not in memory of these derivations.
pub(super) async fn load(
    engine: &Engine,
    organization: OrganizationId,
    memory: &mut Memory,
    wanted: Vec<StorePath>,
) -> Result<(), EngineError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let read = async move |conn: &mut Conn| {
        let rows = derivations::find_many(conn, organization, &wanted).await?;
        let inputs: Vec<StorePath> = rows.iter().flat_map(inputs_of).collect();
        let known = derivations::known(conn, organization, &inputs).await?;
        let own = derivations::known(conn, organization, &wanted).await?;
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        Ok((rows, known, own, builds::latest(conn, &ids).await?))
    };
    let (rows, inputs, own, latest) = engine.storage().read(read).await?;
    for row in rows {
        let Some(known) = own.get(&row.drv_path).copied() else { continue };
        let node = parse(&row, &inputs, engine.durations())?;
        let newest: Option<LatestBuild> = latest.get(&row.id).copied();
        memory.add(row.drv_path, known, newest, Some(node));
    }
    Ok(())
}

fn inputs_of(row: &Derivation) -> Vec<StorePath> {
    let Some(name) = row.drv_path.name().strip_suffix(".drv") else { return Vec::new() };
    match gradient_nix::Derivation::from_aterm_bytes(&row.aterm, name) {
        Ok(read) => read.input_derivations().keys().cloned().map(StorePath::from).collect(),
        Err(_) => Vec::new(),
    }
}

/// It was verified when it came, so that it cannot be read is not expected.
fn parse(row: &Derivation, inputs: &HashMap<StorePath, KnownDerivation>, durations: &Durations) -> Result<Node, EngineError> {
    let hash_of = |path: &StorePath| inputs.get(path).map(|known| known.input_hash);
    let verified = derivation::verify(&row.drv_path, &row.aterm, hash_of).map_err(DerivationRefusal::from)?;
    Ok(Node::new(&verified, durations))
}
