//! Sources in the local store: what is known of them, where they come from, and how they get to the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gradient_domain::{Failure, FailureKind};
use gradient_nix::{CAHash, HashAlgorithm, NarHash, NixHash, NixHasher, StoreDir, StorePath};
use thiserror::Error;

use crate::{
    Machine,
    job::failure,
    process::{Limits, ProcessError},
    transfer::{Declaration, JobTransfer, NarFile, TransferError, restore},
};

const ASK: Limits = Limits { time: Duration::from_mins(5), stdout_bytes: 64 << 20 };

/// How many paths one call of `nix-store` is asked about.
const MAX_PATHS: usize = 500;

/// What the store's database says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The hash of its NAR.
    pub(crate) nar_hash: NarHash,
    /// What it refers to, itself included where it does.
    pub(crate) references: BTreeSet<StorePath>,
}

/// Why a source is not where it should be.
#[derive(Debug, Error)]
pub(crate) enum SourceError {
    /// The store does not answer.
    #[error("the local store does not answer: {0}")]
    Store(#[from] ProcessError),
    /// It answers what nobody understands.
    #[error("the local store says something unexpected of {0}")]
    Answer(String),
    /// Its path does not follow from its content.
    #[error("{0} is not a source: its path does not follow from its content")]
    NotAddressed(StorePath),
    /// What was downloaded is something else.
    #[error("what the server sent for {wanted} is {found}")]
    WrongContent {
        /// The path that was asked for.
        wanted: StorePath,
        /// The path of what came.
        found: String,
    },
    /// It did not travel.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Transfer(error) => error.into(),
            SourceError::Store(_) => failure(FailureKind::Transient, error),
            SourceError::WrongContent { .. } | SourceError::Answer(_) => failure(FailureKind::InputsMissing, error),
            SourceError::NotAddressed(_) => failure(FailureKind::Permanent, error),
        }
    }
}

/// Uploads those of `paths` that the server lacks, and before each what it refers to.
pub(crate) async fn upload(machine: &Machine, transfer: &JobTransfer, paths: &[StorePath]) -> Result<(), SourceError> {
    let missing = transfer.missing(paths).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let records = closure(machine, missing).await?;
    let all: Vec<StorePath> = records.keys().cloned().collect();
    let missing = transfer.missing(&all).await?;
    for path in references_first(&records) {
        if let Some(record) = records.get(&path).filter(|_| missing.contains(&path)) {
            let declaration = declare(machine, &path, record).await?;
            tracing::debug!(%path, "uploading a source");
            transfer.put(&path, &NarFile::new(machine.nix.real_path(&path)), Some(&declaration)).await?;
        }
    }
    Ok(())
}

/// Brings a source into the local store when it is not there.
pub(crate) async fn import(machine: &Machine, transfer: &JobTransfer, path: &StorePath) -> Result<(), SourceError> {
    if is_valid(machine, path).await? {
        return Ok(());
    }
    let local = |source| SourceError::Transfer(TransferError::Local { what: format!("cannot restore {path}"), source });
    let directory = tempfile::Builder::new().prefix("source-").tempdir_in(&machine.scratch).map_err(local)?;
    let tree = directory.path().join(path.name());
    restore(transfer.get(path).await?, &tree).await.map_err(local)?;
    let arguments = ["--add-fixed", "--recursive", "sha256"].map(Into::into).into_iter().chain([tree.into_os_string()]);
    let printed = machine.nix.run("nix-store", arguments, ASK).await?;
    let found = String::from_utf8_lossy(&printed).trim().to_owned();
    if found == path.to_absolute() { Ok(()) } else { Err(SourceError::WrongContent { wanted: path.clone(), found }) }
}

/// Whether the local store has a path.
async fn is_valid(machine: &Machine, path: &StorePath) -> Result<bool, SourceError> {
    match machine.nix.run("nix-store", ["--check-validity".to_owned(), path.to_absolute()], ASK).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_refusal() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What the store's database says of the paths and all that they refer to.
async fn closure(machine: &Machine, paths: BTreeSet<StorePath>) -> Result<BTreeMap<StorePath, Record>, SourceError> {
    let mut records = BTreeMap::new();
    let mut unknown: Vec<StorePath> = paths.into_iter().collect();
    while !unknown.is_empty() {
        for part in unknown.chunks(MAX_PATHS) {
            let paths = part.iter().map(StorePath::to_absolute);
            let printed = machine.nix.run("nix-store", ["--dump-db".to_owned()].into_iter().chain(paths), ASK).await?;
            records.extend(parse_registrations(&String::from_utf8_lossy(&printed))?);
        }
        let referred: BTreeSet<&StorePath> = records.values().flat_map(|record| &record.references).collect();
        let next: Vec<StorePath> = referred.into_iter().filter(|path| !records.contains_key(*path)).cloned().collect();
        if next == unknown {
            return Err(SourceError::Answer(next.first().map(ToString::to_string).unwrap_or_default()));
        }
        unknown = next;
    }
    Ok(records)
}

/// Reads what `nix-store --dump-db` prints, in which all versions of Nix agree: a path, the hash and size of its NAR, its
/// deriver, the number of its references and the references, each on a line.
fn parse_registrations(text: &str) -> Result<BTreeMap<StorePath, Record>, SourceError> {
    let mut lines = text.lines();
    let mut records = BTreeMap::new();
    while let Some(first) = lines.next() {
        let wrong = || SourceError::Answer(first.to_owned());
        let path = StorePath::from_absolute(first).map_err(|_| wrong())?;
        let hash = lines.next().ok_or_else(wrong)?;
        let nar_hash = format!("sha256:{hash}").parse().map_err(|_| wrong())?;
        let count = lines.nth(2).and_then(|count| count.parse::<usize>().ok()).ok_or_else(wrong)?;
        let references =
            lines.by_ref().take(count).map(StorePath::from_absolute).collect::<Result<_, _>>().map_err(|_| wrong())?;
        records.insert(path, Record { nar_hash, references });
    }
    Ok(records)
}

/// The paths in an order in which each comes after what it refers to.
fn references_first(records: &BTreeMap<StorePath, Record>) -> Vec<StorePath> {
    let mut ordered = Vec::with_capacity(records.len());
    let mut seen = BTreeSet::new();
    for root in records.keys() {
        let mut stack = vec![(root, false)];
        while let Some((path, expanded)) = stack.pop() {
            if expanded {
                ordered.push(path.clone());
            } else if seen.insert(path) {
                stack.push((path, true));
                let references = records.get(path).into_iter().flat_map(|record| &record.references);
                stack.extend(references.filter(|reference| *reference != path).map(|reference| (reference, false)));
            }
        }
    }
    ordered
}

/// What a source claims to be: the content address that its path follows from.
async fn declare(machine: &Machine, path: &StorePath, record: &Record) -> Result<Declaration, SourceError> {
    let nar = CAHash::Nar(NixHash::Sha256(*record.nar_hash.as_bytes()));
    let address = if addresses(&nar, path, record) {
        nar
    } else {
        let digest = file_hash(machine.nix.real_path(path)).await.ok_or_else(|| SourceError::NotAddressed(path.clone()))?;
        let candidates = [CAHash::Text(digest), CAHash::Flat(NixHash::Sha256(digest))];
        let address = candidates.into_iter().find(|address| addresses(address, path, record));
        address.ok_or_else(|| SourceError::NotAddressed(path.clone()))?
    };
    Ok(Declaration { content_address: address.to_nix_string(), references: record.references.iter().cloned().collect() })
}

/// Whether `path` is the one that follows from this address.
fn addresses(address: &CAHash, path: &StorePath, record: &Record) -> bool {
    let others: Vec<_> = record.references.iter().filter(|reference| *reference != path).map(StorePath::as_inner).collect();
    let itself = record.references.contains(path);
    let found = StoreDir::default().build_ca_path(path.name(), address, others, itself);
    found.is_ok_and(|found| StorePath::from(found) == *path)
}

/// The SHA-256 of a regular file's bytes.
async fn file_hash(path: std::path::PathBuf) -> Option<[u8; 32]> {
    let hashed = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::symlink_metadata(&path)
            .ok()
            .filter(std::fs::Metadata::is_file)
            .and_then(|_| std::fs::File::open(&path).ok())?;
        let mut hasher = NixHasher::new(HashAlgorithm::Sha256);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = std::io::Read::read(&mut file, &mut buffer).ok()?;
            match buffer.get(..read) {
                Some(bytes) if !bytes.is_empty() => hasher.update(bytes),
                _ => break hasher.finalize().digest_as_bytes().try_into().ok(),
            }
        }
    });
    hashed.await.ok().flatten()
}

#[cfg(test)]
mod tests;
