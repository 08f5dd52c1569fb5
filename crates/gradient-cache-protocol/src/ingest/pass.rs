use std::io::{self, BufReader, Read, Write};

use gradient_nix::nar::{Files, NarError, Node, ReferenceScanner, read_with_files};
use gradient_nix::{CAHash, ContentAddressMethod, HashAlgorithm, NarHash, NixHash, NixHasher, build_products};
use sha2::{Digest as _, Sha256};

use super::compressed::{Broken, Source};
use super::{Expectation, IngestError, Mentions, Subject, VerifiedNar, modulo::ModuloHasher};
use crate::content_address;

/// How much is decompressed, hashed and scanned at once.
const CHUNK: usize = 128 * 1024;

/// Reads a NAR to its end and checks everything that is expected of it.
pub(super) fn read(
    source: &mut dyn Source,
    expectation: &Expectation,
    mentions: Option<&mut Mentions>,
) -> Result<VerifiedNar, IngestError> {
    let subject = &expectation.subject;
    let address = expectation.content_address.as_ref();
    let mut tap = Tap {
        source,
        hasher: Sha256::new(),
        other_hasher: address.and_then(other_nar_algorithm).map(NixHasher::new),
        modulo: address.and_then(|address| modulo(address, expectation)),
        scanner: expectation.candidates.pattern.scanner(),
        mentions,
        size: 0,
        max: expectation.max_nar_size,
        stopped: None,
    };
    let mut file = FileHash(address.and_then(file_algorithm).map(NixHasher::new));
    let mut products = Beginning(Vec::new());
    let files = Files { root: &mut file, build_products: &mut products };
    let listing = read_with_files(BufReader::with_capacity(CHUNK, &mut tap), files);
    let listing = match (tap.stopped.take(), listing) {
        (Some(Stopped::TooLarge), _) => return Err(IngestError::TooLarge { subject: subject.clone(), max: tap.max }),
        (Some(Stopped::Broken(Broken::Upload(source))), _) | (None, Err(NarError::Read(source))) => {
            return Err(IngestError::Read(source));
        }
        (Some(Stopped::Broken(Broken::Compression(source))), _) => {
            return Err(IngestError::Compression { subject: subject.clone(), source });
        }
        (Some(Stopped::Broken(Broken::Keep(source))), _) => return Err(IngestError::Keep(source)),
        (None, Err(source)) => return Err(IngestError::Nar { subject: subject.clone(), source }),
        (None, Ok(listing)) => listing,
    };
    let nar_hash = NarHash(tap.hasher.finalize().into());
    expectation.check_nar(nar_hash, tap.size)?;
    let references = expectation.candidates.at(tap.scanner.matches());
    expectation.check_references(&references)?;
    if let Some(claimed) = address {
        if let Subject::Path(path) = subject {
            content_address::check_path(path, claimed, &references)?;
        }
        let refers_to_itself = matches!(subject, Subject::Path(path) if references.contains(path));
        let found = match (tap.modulo.filter(|_| refers_to_itself), tap.other_hasher) {
            (Some(hasher), _) => {
                let [older, newer] = hasher.finalize().map(CAHash::Nar);
                if newer == *claimed { newer } else { older }
            }
            (None, Some(hasher)) => CAHash::Nar(hasher.finalize()),
            (None, None) => content_of(claimed, expectation, listing.root(), nar_hash, file)?,
        };
        if found != *claimed {
            return Err(IngestError::Content {
                subject: subject.clone(),
                claimed: Box::new(claimed.clone()),
                found: Box::new(found),
            });
        }
    }
    Ok(VerifiedNar { nar_hash, nar_size: tap.size, references, listing, build_products: products.0 })
}

/// The algorithm that the NAR has to be hashed by, when it is not the one it is hashed by anyway.
fn other_nar_algorithm(address: &CAHash) -> Option<HashAlgorithm> {
    let algorithm = address.hash().algorithm();
    (address.method() == ContentAddressMethod::Nar && algorithm != HashAlgorithm::Sha256).then_some(algorithm)
}

/// What hashes the content when it turns out to have its own path in it.
fn modulo(address: &CAHash, expectation: &Expectation) -> Option<ModuloHasher> {
    let Subject::Path(path) = &expectation.subject else { return None };
    let may = expectation.references.as_ref().is_none_or(|references| references.contains(path));
    let is_nar = address.method() == ContentAddressMethod::Nar;
    (is_nar && may).then(|| ModuloHasher::new(address.hash().algorithm(), path.hash()))
}

fn file_algorithm(address: &CAHash) -> Option<HashAlgorithm> {
    matches!(address.method(), ContentAddressMethod::Flat | ContentAddressMethod::Text).then(|| address.hash().algorithm())
}

/// The address of what was read, of the same kind as the one claimed.
fn content_of(
    claimed: &CAHash,
    expectation: &Expectation,
    root: &Node,
    nar_hash: NarHash,
    file: FileHash,
) -> Result<CAHash, IngestError> {
    let Some(hasher) = file.0 else { return Ok(CAHash::Nar(nar_hash.into())) };
    let found = match root {
        Node::Regular { executable: false, .. } => None,
        Node::Regular { executable: true, .. } => Some("a program"),
        Node::Directory { .. } => Some("a directory"),
        Node::Symlink { .. } => Some("a symlink"),
    };
    if let Some(found) = found {
        return Err(IngestError::NotAFile { subject: expectation.subject.clone(), claimed: claimed.clone(), found });
    }
    Ok(match (claimed, hasher.finalize()) {
        (CAHash::Text(_), NixHash::Sha256(digest)) => CAHash::Text(digest),
        (_, hash) => CAHash::Flat(hash),
    })
}

/// Sees every byte of the NAR on its way to the parser.
struct Tap<'a> {
    source: &'a mut dyn Source,
    hasher: Sha256,
    other_hasher: Option<NixHasher>,
    modulo: Option<ModuloHasher>,
    scanner: ReferenceScanner,
    mentions: Option<&'a mut Mentions>,
    size: u64,
    max: u64,
    stopped: Option<Stopped>,
}

enum Stopped {
    TooLarge,
    Broken(Broken),
}

impl Read for Tap<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.source.read(buffer) {
            Ok(count) => count,
            Err(Broken::Upload(error)) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(broken) => return Err(self.stop(Stopped::Broken(broken))),
        };
        self.size += count as u64;
        if self.size > self.max {
            return Err(self.stop(Stopped::TooLarge));
        }
        let bytes = &buffer[..count];
        self.hasher.update(bytes);
        self.scanner.scan(bytes);
        if let Some(mentions) = &mut self.mentions {
            mentions.scan(bytes);
        }
        if let Some(hasher) = &mut self.other_hasher {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.modulo {
            hasher.update(bytes);
        }
        Ok(count)
    }
}

impl Tap<'_> {
    /// The reason is kept aside, because the parser may replace the error by one of its own.
    fn stop(&mut self, reason: Stopped) -> io::Error {
        self.stopped = Some(reason);
        io::Error::other("stopped")
    }
}

/// Hashes the contents of a NAR that is one file, when that hash is wanted.
struct FileHash(Option<NixHasher>);

impl Write for FileHash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(hasher) = &mut self.0 {
            hasher.update(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps as much of a file as is read of build products.
struct Beginning(Vec<u8>);

impl Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = build_products::MAX_FILE_BYTES.saturating_sub(self.0.len());
        self.0.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
