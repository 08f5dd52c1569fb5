//! Paths that follow from their content.

use std::collections::BTreeSet;

use gradient_nix::{CAHash, ContentAddressMethod, StoreDir, StorePath, StorePathError};

/// The path of content with this address, name and references, which does not refer to itself.
pub fn store_path(name: &str, address: &CAHash, references: &BTreeSet<StorePath>) -> Result<StorePath, StorePathError> {
    build(name, address, references.iter(), SelfReference::No)
}

/// Whether `path` is where content with this address and these references belongs; they have the path itself where the content
/// refers to itself.
pub fn check_path(path: &StorePath, address: &CAHash, references: &BTreeSet<StorePath>) -> Result<(), ContentAddressError> {
    let method = address.method();
    if method == ContentAddressMethod::Git {
        return Err(ContentAddressError::Method { path: path.clone(), method });
    }
    let own = if references.contains(path) { SelfReference::Yes } else { SelfReference::No };
    let others = references.iter().filter(|reference| *reference != path);
    let found =
        build(path.name(), address, others, own).map_err(|source| ContentAddressError::Rule { path: path.clone(), source })?;
    if found != *path {
        let address = Box::new(address.clone());
        return Err(ContentAddressError::WrongPath { claimed: path.clone(), address, found });
    }
    Ok(())
}

/// Whether content refers to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SelfReference {
    Yes,
    No,
}

fn build<'a>(
    name: &str,
    address: &CAHash,
    others: impl Iterator<Item = &'a StorePath>,
    own: SelfReference,
) -> Result<StorePath, StorePathError> {
    let others = others.map(StorePath::as_inner);
    StoreDir::default().build_ca_path(name, address, others, own == SelfReference::Yes).map(StorePath::from)
}

/// Why content does not belong at a path.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentAddressError {
    /// The address gives another path.
    #[error("claimed to be {claimed}, but content with the address {address} is {found}")]
    WrongPath {
        /// The path that was claimed.
        claimed: StorePath,
        /// The address that was claimed.
        address: Box<CAHash>,
        /// Where it belongs.
        found: StorePath,
    },
    /// The address contradicts Nix's rules, such as a flat hash with references.
    #[error("{path} cannot have the content address it claims: {source}")]
    Rule {
        /// The path that was claimed.
        path: StorePath,
        /// The rule.
        source: StorePathError,
    },
    /// The method cannot be checked.
    #[error("{path} claims a content address by {method}, which is not supported")]
    Method {
        /// The path that was claimed.
        path: StorePath,
        /// How its content would be hashed.
        method: ContentAddressMethod,
    },
}
