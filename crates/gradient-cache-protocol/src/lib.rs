//! What a substituter sees of a cache, and how a NAR is verified before it is believed. Nothing here does I/O of its own.
//!
//! A NAR is read once, while it streams: both its forms are hashed, its structure is checked, its contents are listed and its
//! references are found. Whatever was claimed of it and does not hold is refused, each claim with an error of its own.
//!
//! ```
//! use gradient_cache_protocol::ingest::{Candidates, Expectation, verify};
//! use gradient_nix::{nar::Encoder, StorePath};
//!
//! let path: StorePath = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-link".parse()?;
//! let target: StorePath = "2vmnnlg2n5iiwmvhg8957fprn2bw0159-target".parse()?;
//!
//! let mut nar = Encoder::new(Vec::new())?;
//! nar.symlink(None, target.to_absolute().as_bytes())?;
//! let compressed = zstd::encode_all(nar.finish()?.as_slice(), 1)?;
//!
//! let candidates = Candidates::new([path.clone(), target.clone()]);
//! let verified = verify(compressed.as_slice(), &Expectation::new(path, candidates, 1024 * 1024))?;
//! assert_eq!(verified.nar.references, [target].into());
//! assert_eq!(verified.file_size, compressed.len() as u64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cache_info;
pub mod content_address;
pub mod content_encoding;
pub mod declared;
mod foreign;
pub mod ingest;
pub mod narinfo;
pub mod realisation;

pub use declared::{DeclaredError, DeclaredPath};
pub use foreign::{ForeignError, ForeignPath};
pub use narinfo::PathInfo;
pub use realisation::{Realisation, RealisationError, RealisationName};
