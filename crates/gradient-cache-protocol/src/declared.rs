//! What a client says of a path that it uploads: the narinfo that `nix copy` sends after the NAR.

use std::collections::BTreeSet;

use gradient_nix::{CAHash, NarHash, NarInfo, NixHash, StoreDir, StorePath};
use thiserror::Error;

use crate::ingest::{NarFileName, NarFileNameError};

/// Signatures of others that are kept of a path.
pub const MAX_SIGNATURES: usize = 8;

/// The longest signature that is kept: those of Ed25519 have 88 characters behind the key's name.
const MAX_SIGNATURE_BYTES: usize = 1024;

/// A path as the client declares it. Nothing of it is believed before the NAR was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredPath {
    /// The path.
    pub path: StorePath,
    /// The file that its NAR was uploaded as.
    pub nar: NarFileName,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// The size of its NAR in bytes.
    pub nar_size: u64,
    /// The hash of that file.
    pub file_hash: Option<NarHash>,
    /// The size of that file in bytes.
    pub file_size: Option<u64>,
    /// What it refers to, itself included where it does.
    pub references: BTreeSet<StorePath>,
    /// The derivation that it is an output of.
    pub deriver: Option<StorePath>,
    /// What its path follows from, when that is its content.
    pub content_address: Option<CAHash>,
    /// Signatures of others, `name:base64`; the first of them when there are more than are kept.
    pub signatures: Vec<String>,
}

/// Why a narinfo is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeclaredError {
    /// It is none.
    #[error("it is no narinfo: {0}")]
    Malformed(String),
    /// It says something that no cache could hold.
    #[error("{0}: only sha256 is taken")]
    Algorithm(&'static str),
    /// Its NAR is somewhere else.
    #[error("URL: {0}, expected `nar/<hash>.nar` with an extension for the compression")]
    Url(String),
    /// Its NAR's name is none.
    #[error("URL: {0}")]
    Name(#[from] NarFileNameError),
}

impl DeclaredPath {
    /// Reads a narinfo as Nix writes it.
    pub fn parse(text: &[u8]) -> Result<Self, DeclaredError> {
        let parsed = NarInfo::parse_in(&StoreDir::default(), text);
        let parsed = parsed.map_err(|error| DeclaredError::Malformed(error.to_string()))?;
        let NixHash::Sha256(nar_hash) = *parsed.nar_hash() else { return Err(DeclaredError::Algorithm("NarHash")) };
        let file_hash = match parsed.file_hash() {
            Some(NixHash::Sha256(digest)) => Some(NarHash(*digest)),
            Some(_) => return Err(DeclaredError::Algorithm("FileHash")),
            None => None,
        };
        let name = parsed.url().strip_prefix("nar/");
        let name = name.ok_or_else(|| DeclaredError::Url(parsed.url().chars().take(80).collect()))?;
        let signatures = parsed.signatures().iter().map(ToString::to_string).filter(|signature| is_signature(signature));
        Ok(Self {
            path: parsed.store_path().clone().into(),
            nar: name.parse()?,
            nar_hash: NarHash(nar_hash),
            nar_size: parsed.nar_size(),
            file_hash,
            file_size: parsed.file_size(),
            references: parsed.references().iter().cloned().map(StorePath::from).collect(),
            deriver: parsed.deriver().cloned().map(StorePath::from),
            content_address: parsed.content_address().cloned(),
            signatures: signatures.take(MAX_SIGNATURES).collect(),
        })
    }
}

/// Whether a text could be a signature, `name:base64`: what is kept with others in a line.
pub(crate) fn is_signature(text: &str) -> bool {
    text.len() <= MAX_SIGNATURE_BYTES && text.contains(':') && text.chars().all(|c| !c.is_control() && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `nix copy` of Nix 2.8.0; see the vectors of `gradient-nix`.
    const NARINFO: &str = include_str!("../../gradient-nix/tests/vectors/signing/narinfo");

    #[test]
    fn what_nix_sends_is_read() {
        let declared = DeclaredPath::parse(NARINFO.as_bytes()).unwrap();
        assert_eq!(declared.path.hash().to_string(), "2vmnnlg2n5iiwmvhg8957fprn2bw0159");
        assert_eq!((declared.nar.extension(), declared.nar_size), ("zst", 3024));
        assert_eq!(declared.references.len(), 2);
        assert_eq!(declared.signatures.len(), 1);
        assert_eq!(declared.file_hash, Some(declared.nar.hash()), "Nix names the file by its hash");
        let without = DeclaredPath::parse(format!("{NARINFO}Deriver: unknown-deriver\n").as_bytes());
        assert!(without.is_ok_and(|declared| declared.deriver.is_none()) || NARINFO.contains("Deriver"));
    }

    #[test]
    fn only_so_many_signatures_are_kept() {
        let many = format!("{NARINFO}{}", "Sig: other:AAAA\n".repeat(100));
        assert_eq!(DeclaredPath::parse(many.as_bytes()).unwrap().signatures.len(), MAX_SIGNATURES);
    }

    #[test]
    fn what_is_no_narinfo_is_told_apart() {
        let with = |line: &str, other: &str| {
            let lines = NARINFO.lines().map(|text| if text.starts_with(line) { other } else { text });
            DeclaredPath::parse(lines.collect::<Vec<_>>().join("\n").as_bytes())
        };
        assert!(matches!(with("URL:", "URL: ../nar/x.nar"), Err(DeclaredError::Url(_))));
        assert!(matches!(with("URL:", "URL: nar/x.nar"), Err(DeclaredError::Name(_))));
        let sha1 = "NarHash: sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709";
        assert_eq!(with("NarHash:", sha1), Err(DeclaredError::Algorithm("NarHash")));
        assert!(matches!(with("StorePath:", "StorePath: /etc/passwd"), Err(DeclaredError::Malformed(_))));
        assert!(matches!(DeclaredPath::parse(b"\xff"), Err(DeclaredError::Malformed(_))));
    }
}
