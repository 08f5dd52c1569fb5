//! Paths that follow from their content.

use std::collections::BTreeSet;

use gradient_nix::{CAHash, ContentAddressMethod, StoreDir, StorePath, StorePathError};

/// The path of content with this address, name and references. `references` has the path itself only when the content refers to
/// itself, which is then also part of the address.
pub fn store_path(name: &str, address: &CAHash, references: &BTreeSet<StorePath>) -> Result<StorePath, StorePathError> {
    let references = references.iter().map(StorePath::as_inner);
    StoreDir::default().build_ca_path(name, address, references, false).map(StorePath::from)
}

/// Whether `path` is where content with this address and these references belongs.
pub fn check_path(path: &StorePath, address: &CAHash, references: &BTreeSet<StorePath>) -> Result<(), ContentAddressError> {
    if references.contains(path) {
        return Err(ContentAddressError::SelfReference { path: path.clone() });
    }
    let method = address.method();
    if method == ContentAddressMethod::Git {
        return Err(ContentAddressError::Method { path: path.clone(), method });
    }
    let found = store_path(path.name(), address, references)
        .map_err(|source| ContentAddressError::Rule { path: path.clone(), source })?;
    if found != *path {
        let address = Box::new(address.clone());
        return Err(ContentAddressError::WrongPath { claimed: path.clone(), address, found });
    }
    Ok(())
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
    /// The content has its own path in it.
    #[error("{path} claims a content address and refers to itself, which is not supported")]
    SelfReference {
        /// The path that was claimed.
        path: StorePath,
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
