use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::{CAHash, ValidatedDerivation};

use super::{DerivationKind, InputDerivationHash};
use crate::StorePath;

/// The feature of Nix, and of a machine that has it, to build content-addressed derivations.
pub const CA_DERIVATIONS: &str = "ca-derivations";

/// A derivation whose paths have been recomputed. Made by [`verify`](super::verify) only.
#[derive(Debug, Clone)]
pub struct VerifiedDerivation {
    path: StorePath,
    derivation: ValidatedDerivation,
    kind: DerivationKind,
    input_hash: InputDerivationHash,
    outputs: BTreeMap<String, Option<StorePath>>,
    input_derivations: BTreeMap<StorePath, BTreeSet<String>>,
    input_sources: BTreeSet<StorePath>,
}

impl VerifiedDerivation {
    pub(super) fn new(
        path: StorePath,
        derivation: ValidatedDerivation,
        kind: DerivationKind,
        input_hash: InputDerivationHash,
    ) -> Self {
        let inner = derivation.as_derivation();
        let outputs =
            derivation.resolved_outputs().into_iter().map(|(name, output)| (name, output.path.map(StorePath::from))).collect();
        let input_derivations = inner
            .input_derivations()
            .iter()
            .map(|(path, input)| (StorePath::from(path.clone()), input.outputs().clone()))
            .collect();
        let input_sources = inner.input_sources().iter().cloned().map(StorePath::from).collect();
        Self { path, derivation, kind, input_hash, outputs, input_derivations, input_sources }
    }

    /// Where it is in the store.
    pub fn path(&self) -> &StorePath {
        &self.path
    }

    /// Its name, without `.drv`.
    pub fn name(&self) -> &str {
        self.derivation.as_derivation().name()
    }

    /// What it is built on, such as `x86_64-linux`; `builtin` means on any machine.
    pub fn system(&self) -> &str {
        self.derivation.as_derivation().system()
    }

    /// Features a machine must have to build it, sorted. A content-addressed one needs `ca-derivations` as well, as in Nix.
    pub fn required_system_features(&self) -> Vec<String> {
        let mut features = self.derivation.required_system_features();
        if self.kind == DerivationKind::ContentAddressed {
            features.insert(CA_DERIVATIONS.to_owned());
        }
        features.into_iter().collect()
    }

    /// Its outputs with their paths; `None` where the path is only known after the build.
    pub fn outputs(&self) -> &BTreeMap<String, Option<StorePath>> {
        &self.outputs
    }

    /// The derivations it needs, each with the outputs that it needs of it. That those outputs exist is for the caller to see.
    pub fn input_derivations(&self) -> &BTreeMap<StorePath, BTreeSet<String>> {
        &self.input_derivations
    }

    /// The paths it needs that are not built.
    pub fn input_sources(&self) -> &BTreeSet<StorePath> {
        &self.input_sources
    }

    /// What stands for it in the hashes of its dependents.
    pub fn input_hash(&self) -> InputDerivationHash {
        self.input_hash
    }

    /// How its outputs are addressed.
    pub fn kind(&self) -> DerivationKind {
        self.kind
    }

    /// What the content of an output has to be, when that is fixed.
    pub fn content_address(&self, output: &str) -> Option<&CAHash> {
        self.derivation.as_derivation().outputs().get(output)?.fixed_content_address()
    }

    /// Whether it is so small that it is better built than sent around (`preferLocalBuild`).
    pub fn prefer_local_build(&self) -> bool {
        self.flag("preferLocalBuild").unwrap_or(false)
    }

    /// Whether its outputs may be taken from a cache instead of being built (`allowSubstitutes`).
    pub fn allow_substitutes(&self) -> bool {
        self.flag("allowSubstitutes").unwrap_or(true)
    }

    /// All there is to know of it.
    pub fn as_validated(&self) -> &ValidatedDerivation {
        &self.derivation
    }

    fn flag(&self, name: &str) -> Option<bool> {
        let derivation = self.derivation.as_derivation();
        match derivation.structured_attrs() {
            Some(attributes) => attributes.get(name)?.as_bool(),
            None => derivation.environment().get(name).map(|value| value == b"1"),
        }
    }
}
