//! From a derivation whose inputs' paths are only known once those are built to one that can be built.

use std::collections::HashMap;

use nix_derivation::{Derivation, Output, store_path::downstream_placeholder, structured_attrs::StructuredAttrs};
use thiserror::Error;

use crate::StorePath;

/// The characters of a placeholder: a slash, and a SHA-256 in Nix's base32.
const PLACEHOLDER: usize = 53;

/// Why a derivation cannot be resolved.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ResolutionError {
    /// What an output of an input turned out to be is not known.
    #[error("what output {output} of {input} turned out to be is not known")]
    Unknown {
        /// The input derivation.
        input: StorePath,
        /// Its output.
        output: String,
    },
    /// It needs a derivation that is itself built.
    #[error("it needs derivations that are only known after a build")]
    Dynamic,
    /// What comes out is no derivation.
    #[error(transparent)]
    Invalid(nix_derivation::Error),
}

/// Whether a derivation is resolved before it is built, whatever its inputs are.
pub fn is_unresolved(derivation: &Derivation) -> bool {
    derivation.outputs().values().any(|output| matches!(output, Output::Floating { .. } | Output::Deferred))
}

/// The derivation with the outputs of its input derivations, which `path_of` gives, as its sources, and in place of what stood for
/// them in its builder, arguments and environment. Outputs that were deferred have their paths then. As in Nix's `tryResolve`.
///
/// What is addressed by how it is built, and has its paths already, stays as it is: they would be others.
pub fn resolve(
    derivation: &Derivation,
    mut path_of: impl FnMut(&StorePath, &str) -> Option<StorePath>,
) -> Result<Derivation, ResolutionError> {
    if derivation.outputs().values().any(|output| matches!(output, Output::InputAddressed { .. })) {
        return Ok(derivation.clone());
    }
    let mut builder = derivation.clone().into_builder();
    let mut rewrites: Rewrites = HashMap::new();
    for (input, wanted) in std::mem::take(builder.input_derivations_mut()) {
        if wanted.is_dynamic() {
            return Err(ResolutionError::Dynamic);
        }
        for output in wanted.outputs() {
            let input_path = StorePath::from(input.clone());
            let path = path_of(&input_path, output)
                .ok_or_else(|| ResolutionError::Unknown { input: input_path, output: output.clone() })?;
            let placeholder = downstream_placeholder(&input, [output])
                .map_err(|error| ResolutionError::Invalid(nix_derivation::Error::InvalidDerivation(error.to_string())))?;
            rewrites.insert(placeholder.into_bytes(), path.to_absolute());
            builder.input_sources_mut().insert(path.into());
        }
    }
    *builder.builder_mut() = rewrites_in(&rewrites, builder.builder());
    for argument in builder.arguments_mut() {
        *argument = rewrites_in(&rewrites, argument);
    }
    let environment = std::mem::take(builder.environment_mut()).into_iter();
    for (name, value) in environment {
        builder.environment_mut().entry(rewrites_in(&rewrites, &name)).or_insert_with(|| rewritten(&rewrites, &value));
    }
    if let Some(attributes) = builder.structured_attrs_mut() {
        let json = rewritten(&rewrites, attributes.raw_json());
        *attributes = StructuredAttrs::from_json_bytes(json)
            .map_err(|error| ResolutionError::Invalid(nix_derivation::Error::InvalidDerivation(error.to_string())))?;
    }
    Ok(builder.build().map_err(ResolutionError::Invalid)?.into_derivation())
}

/// Paths by the placeholders that stand for them.
type Rewrites = HashMap<Vec<u8>, String>;

fn rewrites_in(rewrites: &Rewrites, text: &str) -> String {
    // Characters of ASCII take the place of such characters, so nothing is lost.
    String::from_utf8_lossy(&rewritten(rewrites, text.as_bytes())).into_owned()
}

fn rewritten(rewrites: &Rewrites, text: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let path = rest.get(..PLACEHOLDER).filter(|_| first == b'/').and_then(|placeholder| rewrites.get(placeholder));
        rest = if let Some(path) = path {
            written.extend(path.bytes());
            rest.get(PLACEHOLDER..).unwrap_or_default()
        } else {
            written.push(first);
            behind
        };
    }
    written
}
