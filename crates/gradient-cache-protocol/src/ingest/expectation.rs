use std::collections::BTreeSet;

use gradient_nix::nar::ReferencePattern;
use gradient_nix::{CAHash, NarHash, StorePath};

use super::{IngestError, Subject};

/// The paths that a NAR may refer to. Made once, it serves all outputs of a build; clones share it.
#[derive(Debug, Clone)]
pub struct Candidates {
    paths: std::sync::Arc<[StorePath]>,
    pub(super) pattern: ReferencePattern,
}

impl Candidates {
    /// Of a build: its input closure and all its outputs. Of an upload: what it declares.
    pub fn new(paths: impl IntoIterator<Item = StorePath>) -> Self {
        let paths: std::sync::Arc<[StorePath]> = paths.into_iter().collect();
        let hashes = paths.iter().map(|path| path.hash().to_string());
        match ReferencePattern::new(hashes) {
            Ok(pattern) => Self { paths, pattern },
            Err(error) => unreachable!("the hash of a store path is a reference candidate: {error}"),
        }
    }

    pub(super) fn at(&self, indices: impl Iterator<Item = usize>) -> BTreeSet<StorePath> {
        indices.filter_map(|index| self.paths.get(index)).cloned().collect()
    }
}

/// What is claimed of a NAR, and how large it may be. What is `None` is not claimed, but found out.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The path that it is the content of, or the file that it came as.
    pub subject: Subject,
    /// The paths that are looked for in it.
    pub candidates: Candidates,
    /// The references it is claimed to have: exactly these have to be found.
    pub references: Option<BTreeSet<StorePath>>,
    /// The hash of the NAR.
    pub nar_hash: Option<NarHash>,
    /// The size of the NAR.
    pub nar_size: Option<u64>,
    /// The hash of the compressed form.
    pub file_hash: Option<NarHash>,
    /// The size of the compressed form.
    pub file_size: Option<u64>,
    /// What the content has to be. The path has to follow from it.
    pub content_address: Option<CAHash>,
    /// How large the NAR may be in bytes, whatever it claims.
    pub max_nar_size: u64,
}

impl Expectation {
    /// That the content of `path` is a NAR of at most `max_nar_size` bytes; more can be set.
    pub fn new(path: StorePath, candidates: Candidates, max_nar_size: u64) -> Self {
        Self::of(Subject::Path(path), candidates, max_nar_size)
    }

    /// The same of whatever it came as.
    pub(super) fn of(subject: Subject, candidates: Candidates, max_nar_size: u64) -> Self {
        Self {
            subject,
            candidates,
            references: None,
            nar_hash: None,
            nar_size: None,
            file_hash: None,
            file_size: None,
            content_address: None,
            max_nar_size,
        }
    }

    /// That `path` is declared to refer to `references`, and to follow from `address`: an upload that no build explains.
    pub fn declared(path: StorePath, address: CAHash, references: BTreeSet<StorePath>, max_nar_size: u64) -> Self {
        let candidates = Candidates::new(references.iter().cloned().chain([path.clone()]));
        let content_address = Some(address);
        Self { references: Some(references), content_address, ..Self::new(path, candidates, max_nar_size) }
    }

    pub(super) fn check_nar(&self, hash: NarHash, size: u64) -> Result<(), IngestError> {
        let subject = || self.subject.clone();
        if let Some(claimed) = self.nar_size.filter(|claimed| *claimed != size) {
            return Err(IngestError::NarSize { subject: subject(), claimed, found: size });
        }
        if let Some(claimed) = self.nar_hash.filter(|claimed| *claimed != hash) {
            return Err(IngestError::NarHash { subject: subject(), claimed, found: hash });
        }
        Ok(())
    }

    pub(super) fn check_file(&self, hash: NarHash, size: u64) -> Result<(), IngestError> {
        let subject = || self.subject.clone();
        if let Some(claimed) = self.file_size.filter(|claimed| *claimed != size) {
            return Err(IngestError::FileSize { subject: subject(), claimed, found: size });
        }
        if let Some(claimed) = self.file_hash.filter(|claimed| *claimed != hash) {
            return Err(IngestError::FileHash { subject: subject(), claimed, found: hash });
        }
        Ok(())
    }

    pub(super) fn check_references(&self, found: &BTreeSet<StorePath>) -> Result<(), IngestError> {
        let Some(claimed) = &self.references else { return Ok(()) };
        if let Some(reference) = claimed.difference(found).next().cloned() {
            return Err(IngestError::ReferenceNotFound { subject: self.subject.clone(), reference });
        }
        if let Some(reference) = found.difference(claimed).next().cloned() {
            return Err(IngestError::ReferenceNotClaimed { subject: self.subject.clone(), reference });
        }
        Ok(())
    }
}
