//! The hashes of derivations whose outputs' paths are not known yet: what stands for one in the hashes of its dependents, and what
//! the realisations of its outputs are named by.
//!
//! Both are hashes of its ATerm with its input derivations replaced by what stands for those. The second does not depend on what
//! the environment says of its own outputs. See `hashDerivationModulo` in Nix.

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::{
    ContentAddressMethod, Derivation, DerivationModuloHash, HashAlgorithm, NixHash, NixHasher, Output, store_path,
};

use super::InputDerivationHash;
use crate::StorePath;

/// Whether the environment's values for the outputs count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputValues {
    Kept,
    Masked,
}

/// The hash; nothing when an output is of another kind, or an input has no hash.
pub(super) fn hash(
    derivation: &Derivation,
    values: OutputValues,
    mut input_hash: impl FnMut(&StorePath) -> Option<InputDerivationHash>,
) -> Option<[u8; 32]> {
    let mut inputs: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (path, input) in derivation.input_derivations() {
        let (InputDerivationHash::Regular(digest)
        | InputDerivationHash::FixedOutput(digest)
        | InputDerivationHash::Deferred(Some(digest))) = input_hash(&StorePath::from(path.clone()))?
        else {
            return None;
        };
        inputs
            .entry(DerivationModuloHash::new(digest).to_string())
            .or_default()
            .extend(input.outputs().iter().map(String::as_str));
    }
    let outputs: Option<Vec<String>> =
        derivation.outputs().iter().map(|(name, output)| Some(tuple([name, "", &algorithm_of(output)?, ""]))).collect();
    let inputs = inputs.into_iter().map(|(hash, names)| format!("({},{})", quoted(hash.as_bytes()), list(names)));
    let sources = derivation.input_sources().iter().map(store_path::StorePath::to_absolute_path);
    let mut aterm = Vec::new();
    aterm.extend(format!("Derive([{}],[{}],", outputs?.join(","), inputs.collect::<Vec<_>>().join(",")).bytes());
    let (system, builder) = (quoted(derivation.system().as_bytes()), quoted(derivation.builder().as_bytes()));
    aterm.extend(format!("{},{system},{builder},{},[", list(sources), list(derivation.arguments())).bytes());
    let attributes = derivation.structured_attrs().map(|attributes| ("__json", attributes.raw_json()));
    let environment = derivation.environment().iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    let environment: BTreeMap<&str, &[u8]> = environment.chain(attributes).collect();
    for (number, (name, value)) in environment.into_iter().enumerate() {
        let is_masked = values == OutputValues::Masked && derivation.outputs().contains_key(name);
        let separator = if number == 0 { "" } else { "," };
        aterm.extend(format!("{separator}({},", quoted(name.as_bytes())).bytes());
        quote(if is_masked { b"" } else { value }, &mut aterm);
        aterm.push(b')');
    }
    aterm.extend(b"])");
    let mut hasher = NixHasher::new(HashAlgorithm::Sha256);
    hasher.update(&aterm);
    match hasher.finalize() {
        NixHash::Sha256(digest) => Some(digest),
        _ => None,
    }
}

/// As it stands in a derivation: `r:sha256`; empty for what is addressed by how it is built.
fn algorithm_of(output: &Output) -> Option<String> {
    let (method, algorithm) = match output {
        Output::Deferred => return Some(String::new()),
        Output::Floating { method, hash_algorithm } => (method, hash_algorithm),
        Output::InputAddressed { .. } | Output::Fixed { .. } | Output::Impure { .. } => return None,
    };
    let prefix = match method {
        ContentAddressMethod::Flat => "",
        ContentAddressMethod::Nar => "r:",
        ContentAddressMethod::Text => "text:",
        ContentAddressMethod::Git => "git:",
    };
    Some(format!("{prefix}{algorithm}"))
}

fn tuple(words: [&str; 4]) -> String {
    format!("({})", words.map(|word| quoted(word.as_bytes())).join(","))
}

fn list(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| quoted(word.as_ref().as_bytes())).collect();
    format!("[{}]", words.join(","))
}

/// Of what is text.
fn quoted(text: &[u8]) -> String {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quote(text, &mut quoted);
    String::from_utf8_lossy(&quoted).into_owned()
}

fn quote(value: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    for &byte in value {
        match byte {
            b'"' | b'\\' => into.extend([b'\\', byte]),
            b'\n' => into.extend(b"\\n"),
            b'\r' => into.extend(b"\\r"),
            b'\t' => into.extend(b"\\t"),
            _ => into.push(byte),
        }
    }
    into.push(b'"');
}
