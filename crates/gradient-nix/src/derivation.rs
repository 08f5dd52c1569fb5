//! Derivations as they are believed: every path in them recomputed from their bytes.

mod modulo;
mod resolve;
mod verified;

use std::fmt;

use nix_derivation::{ContentAddressMethod, DerivationModuloHash, InputResolutionError, store_path};
use nix_derivation::{Derivation, Output, ValidatedDerivation};

use crate::StorePath;
use modulo::OutputValues;
pub use resolve::{ResolutionError, is_unresolved, resolve};
pub use verified::{CA_DERIVATIONS, VerifiedDerivation};

/// Reads the ATerm of the derivation at `path` and recomputes what it claims: the derivation's own path, and the path of each
/// input-addressed or fixed output. `input_hash` gives what [`VerifiedDerivation::input_hash`] gave for an input derivation
/// before; it may be asked more than once for the same one, and is not asked at all for fixed outputs.
pub fn verify(
    path: &StorePath,
    aterm: &[u8],
    mut input_hash: impl FnMut(&StorePath) -> Option<InputDerivationHash>,
) -> Result<VerifiedDerivation, DerivationError> {
    let name = path.name().strip_suffix(".drv").ok_or_else(|| DerivationError::NotADerivation { path: path.clone() })?;
    let derivation =
        Derivation::from_aterm_bytes(aterm, name).map_err(|source| DerivationError::Malformed { path: path.clone(), source })?;
    if derivation.to_aterm_bytes() != aterm {
        return Err(DerivationError::NotCanonical { path: path.clone() });
    }
    let invalid = |source: nix_derivation::Error| DerivationError::Invalid { path: path.clone(), source };
    let found = StorePath::from(derivation.drv_path().map_err(invalid)?);
    if found != *path {
        return Err(DerivationError::WrongPath { claimed: path.clone(), found });
    }
    let mut resolve = |input: &store_path::StorePath| {
        input_hash(&StorePath::from(input.clone())).map(InputDerivationHash::into_inner).ok_or(Unknown)
    };
    let unresolved = |error| match error {
        InputResolutionError::Resolve { path: input, .. } => {
            DerivationError::UnknownInput { path: path.clone(), input: input.into() }
        }
        InputResolutionError::Derivation(source) => invalid(source),
        other => invalid(nix_derivation::Error::InvalidDerivation(other.to_string())),
    };
    let derivation = derivation.try_into_validated_with_input_hashes(&mut resolve).map_err(unresolved)?;
    let kind = kind(&derivation);
    let hash = derivation.as_derivation().try_hash_input_derivation_modulo(&mut resolve).map_err(unresolved)?;
    let hash = match hash {
        nix_derivation::InputDerivationHash::Deferred if kind.is_resolved_first() => {
            InputDerivationHash::Deferred(modulo::hash(derivation.as_derivation(), OutputValues::Kept, &mut input_hash))
        }
        hash => hash.into(),
    };
    Ok(VerifiedDerivation::new(path.clone(), derivation, kind, hash))
}

/// What the realisations of a derivation's outputs are named by, as far as those have some: its outputs' paths are not known before
/// they are built, and all its inputs have a hash.
pub fn realisation_hash(
    derivation: &Derivation,
    input_hash: impl FnMut(&StorePath) -> Option<InputDerivationHash>,
) -> Option<[u8; 32]> {
    modulo::hash(derivation, OutputValues::Masked, input_hash)
}

/// How the outputs of a derivation are addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DerivationKind {
    /// Their paths follow from how they are built.
    InputAddressed,
    /// There is one, `out`, and its content is known before.
    FixedOutput,
    /// Their paths follow from their content once it is built.
    ContentAddressed,
    /// Their paths follow from how they are built, once the paths of its inputs are known.
    Deferred,
    /// In a way that Gradient does not build.
    Unsupported(UnsupportedDerivation),
}

impl DerivationKind {
    /// Whether it has to be [resolved](resolve()) before it can be built.
    pub const fn is_resolved_first(self) -> bool {
        matches!(self, Self::ContentAddressed | Self::Deferred)
    }
}

/// A kind of derivation that Gradient does not build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsupportedDerivation {
    /// It may give something else each time.
    Impure,
    /// It makes, or needs, derivations that are only known after a build.
    Dynamic,
    /// Its output is hashed in a way that cannot be checked here.
    Method(ContentAddressMethod),
}

impl fmt::Display for UnsupportedDerivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Impure => f.write_str("impure derivations are not supported"),
            Self::Dynamic => f.write_str("dynamic derivations are not supported"),
            Self::Method(method) => write!(f, "outputs that are hashed as {method} are not supported"),
        }
    }
}

/// What stands for a derivation in the hashes of those that depend on it ("hash modulo").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputDerivationHash {
    /// Of an input-addressed derivation: follows from how it is built.
    Regular([u8; 32]),
    /// Of a fixed output: follows from its content alone.
    FixedOutput([u8; 32]),
    /// Of one whose outputs' paths are not known before something is built; nothing where it was not computed.
    Deferred(Option<[u8; 32]>),
}

/// An [`InputDerivationHash`] as a database keeps it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InputHashParts {
    /// The digest of what has its paths beforehand.
    pub digest: Option<[u8; 32]>,
    /// Whether it is that of a fixed output.
    pub fixed_output: bool,
    /// The digest of what does not.
    pub deferred: Option<[u8; 32]>,
}

impl InputDerivationHash {
    /// What a database keeps.
    pub fn to_parts(self) -> InputHashParts {
        match self {
            Self::Regular(digest) => InputHashParts { digest: Some(digest), ..InputHashParts::default() },
            Self::FixedOutput(digest) => InputHashParts { digest: Some(digest), fixed_output: true, deferred: None },
            Self::Deferred(deferred) => InputHashParts { deferred, ..InputHashParts::default() },
        }
    }

    /// Reads what [`to_parts`](Self::to_parts) gave.
    pub fn from_parts(parts: InputHashParts) -> Self {
        match parts.digest {
            None => Self::Deferred(parts.deferred),
            Some(digest) if parts.fixed_output => Self::FixedOutput(digest),
            Some(digest) => Self::Regular(digest),
        }
    }

    fn into_inner(self) -> nix_derivation::InputDerivationHash {
        match self {
            Self::Regular(digest) => nix_derivation::InputDerivationHash::regular(digest),
            Self::FixedOutput(digest) => nix_derivation::InputDerivationHash::fixed_output(digest),
            Self::Deferred(_) => nix_derivation::InputDerivationHash::Deferred,
        }
    }
}

impl From<nix_derivation::InputDerivationHash> for InputDerivationHash {
    fn from(hash: nix_derivation::InputDerivationHash) -> Self {
        match hash {
            nix_derivation::InputDerivationHash::Regular(hash) => Self::Regular(DerivationModuloHash::into_bytes(hash)),
            nix_derivation::InputDerivationHash::FixedOutput(hash) => Self::FixedOutput(hash.into_bytes()),
            nix_derivation::InputDerivationHash::Deferred => Self::Deferred(None),
        }
    }
}

/// Why a derivation is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DerivationError {
    /// Its path has another name than a derivation's.
    #[error("{path} does not end in .drv")]
    NotADerivation {
        /// The path it was given under.
        path: StorePath,
    },
    /// Its bytes are not an ATerm.
    #[error("{path} is not a derivation: {source}")]
    Malformed {
        /// The path it was given under.
        path: StorePath,
        /// What the parser says.
        source: nix_derivation::Error,
    },
    /// Nix would have written the same derivation with other bytes.
    #[error("{path} is not written the way Nix writes derivations")]
    NotCanonical {
        /// The path it was given under.
        path: StorePath,
    },
    /// Its bytes give another path.
    #[error("the derivation given as {claimed} is {found} by its content")]
    WrongPath {
        /// The path it was given under.
        claimed: StorePath,
        /// The path its bytes give.
        found: StorePath,
    },
    /// It depends on a derivation that has not been given before.
    #[error("{path} depends on {input}, which is not known")]
    UnknownInput {
        /// The derivation.
        path: StorePath,
        /// The one that is missing.
        input: StorePath,
    },
    /// An output's path is not the one it must have, or a rule for derivations is broken.
    #[error("{path} is refused: {source}")]
    Invalid {
        /// The derivation.
        path: StorePath,
        /// What is wrong, with the path that was expected.
        source: nix_derivation::Error,
    },
}

/// Marks an input derivation that the caller does not know.
#[derive(Debug)]
struct Unknown;

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not known")
    }
}

impl std::error::Error for Unknown {}

fn kind(derivation: &ValidatedDerivation) -> DerivationKind {
    use UnsupportedDerivation::{Dynamic, Impure, Method};

    if derivation.uses_dynamic_derivations() {
        return DerivationKind::Unsupported(Dynamic);
    }
    // Validation has seen to it that all outputs are of one kind.
    match derivation.as_derivation().outputs().values().next() {
        Some(Output::InputAddressed { .. }) => DerivationKind::InputAddressed,
        Some(Output::Fixed { ca }) => match ca.method() {
            ContentAddressMethod::Flat | ContentAddressMethod::Nar => DerivationKind::FixedOutput,
            method @ (ContentAddressMethod::Text | ContentAddressMethod::Git) => DerivationKind::Unsupported(Method(method)),
        },
        Some(Output::Floating { method, .. }) => match method {
            ContentAddressMethod::Flat | ContentAddressMethod::Nar => DerivationKind::ContentAddressed,
            ContentAddressMethod::Text | ContentAddressMethod::Git => DerivationKind::Unsupported(Method(*method)),
        },
        Some(Output::Impure { .. }) => DerivationKind::Unsupported(Impure),
        Some(Output::Deferred) | None => DerivationKind::Deferred,
    }
}

#[cfg(test)]
mod tests;
