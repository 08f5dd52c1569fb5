//! Nix's formats under one name: what the format crates lack, and what the rest of the house uses of them.
//!
//! The store is always `/nix/store`. Nothing here reads a clock, a file or a socket.
//!
//! ```
//! use gradient_nix::{NarHash, StorePath};
//!
//! let path: StorePath = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello-2.12".parse()?;
//! assert_eq!(path.name(), "hello-2.12");
//! assert_eq!(path.hash().to_string(), "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz");
//! assert_eq!(StorePath::from_absolute(&path.to_absolute())?, path);
//!
//! let hash: NarHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".parse()?;
//! assert_eq!(hash.to_string(), "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod build_products;
pub mod derivation;
pub mod nar;
mod nar_hash;
pub mod signing;
#[cfg(feature = "sql")]
mod sql;
mod store_path;

pub use derivation::{
    DerivationError, DerivationKind, InputDerivationHash, InputHashParts, UnsupportedDerivation, VerifiedDerivation,
};
pub use nar_hash::{NarHash, NarHashError};
pub use nix_archive;
pub use nix_derivation;
pub use nix_derivation::{
    CAHash, ContentAddressMethod, Derivation, HashAlgorithm, NixHash, NixHasher, Output, StoreDir, ValidatedDerivation, nixbase32,
};
pub use nix_narinfo;
pub use nix_narinfo::{Compression, NarInfo, NixSignature};
pub use signing::{KeyError, PublicKey, SigningKey};
pub use store_path::{STORE_DIR, StorePath, StorePathError, StorePathHash};
