//! NARs: what is in one, and where.

mod build_ids;
mod listing;
mod reader;

pub use listing::{Listing, ListingError, Node};
pub use nix_archive::nar::{
    CaseHack, Encoder, ReferencePattern, ReferencePatternError, ReferenceScanner, encode_path, restore_reader,
};
pub use reader::{Files, MAX_ENTRIES, MAX_NAME_BYTES, MAX_TARGET_BYTES, NarError, read, read_with_files};
