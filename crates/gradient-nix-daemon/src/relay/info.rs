//! What is said of a derivation that is kept here, as a store says it.

use gradient_nix::{CAHash, HashAlgorithm, NixHash, NixHasher, StorePath};

use crate::{Error, wire::Writer};

/// What a store says of a derivation.
pub(super) struct Info {
    nar_hash: [u8; 32],
    nar_size: u64,
    references: Vec<StorePath>,
    address: CAHash,
}

impl Info {
    pub(super) fn new(aterm: &[u8], references: Vec<StorePath>) -> Result<Self, Error> {
        let mut nar = Vec::with_capacity(aterm.len() + 160);
        for word in [b"nix-archive-1".as_slice(), b"(", b"type", b"regular", b"contents", aterm, b")"] {
            nar.extend(u64::try_from(word.len()).unwrap_or(u64::MAX).to_le_bytes());
            nar.extend(word);
            nar.resize(nar.len().next_multiple_of(8), 0);
        }
        let nar_size = u64::try_from(nar.len()).unwrap_or(u64::MAX);
        Ok(Self { nar_hash: sha256(&nar)?, nar_size, references, address: CAHash::Text(sha256(aterm)?) })
    }

    /// No deriver, no time, its own work, no signatures.
    pub(super) fn write(&self, writer: &mut Writer) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = self.nar_hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let nar_hash: Vec<u8> = digits.filter_map(|digit| DIGITS.get(usize::from(digit)).copied()).collect();
        writer.text("").text(nar_hash).texts(self.references.iter().map(StorePath::to_absolute));
        writer.number(0).number(self.nar_size).flag(true).texts([""; 0].iter()).text(self.address.to_nix_string());
    }
}

pub(super) fn sha256(bytes: &[u8]) -> Result<[u8; 32], Error> {
    let mut hasher = NixHasher::new(HashAlgorithm::Sha256);
    hasher.update(bytes);
    match hasher.finalize() {
        NixHash::Sha256(digest) => Ok(digest),
        _ => Err(Error::Malformed("a hash")),
    }
}
