//! Files on their way to a source tree.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    time::Duration,
};

use bytes::Bytes;
use gradient_blobs::StagedFile;
use gradient_cache_protocol::{
    content_address,
    ingest::{self, Expectation, IngestError, VerifiedUpload},
};
use gradient_domain::OrganizationId;
use gradient_nix::{CAHash, HashAlgorithm, NarHash, NixHasher};
use gradient_storage::paths::NewOrganizationPath;
use thiserror::Error;
use tokio::io::{AsyncWriteExt, BufWriter as AsyncBufWriter};

use super::{
    SourcePath,
    tree::{Part, Taken, Tree},
};
use crate::{Engine, EngineError, Share};

/// How many files one upload may have.
const MAX_FILES: usize = 20_000;

/// How much is written to the disk at once, in bytes.
const BUFFER: usize = 256 << 10;

/// How long an upload may wait for others to end.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// How well sources are compressed.
const LEVEL: i32 = 3;

/// What every source tree is called, as Nix's own fetchers call it.
const NAME: &str = "source";

/// Files that come one after another. Dropped before they are stored, they leave nothing.
#[derive(Debug)]
pub struct Sources {
    staged: StagedFile,
    spool: AsyncBufWriter<tokio::fs::File>,
    size: u64,
    max_bytes: u64,
    files: usize,
    tree: Tree,
    open: Option<OpenFile>,
    share: Share<OrganizationId>,
}

/// The file that comes now.
#[derive(Debug)]
struct OpenFile {
    path: SourcePath,
    offset: u64,
    beginning: Vec<u8>,
}

/// Why files are not taken.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The same file came before.
    #[error("the file `{0}` comes twice")]
    Twice(SourcePath),
    /// The name of a file is that of a directory too.
    #[error("`{0}` cannot be a file and a directory at once")]
    Directory(SourcePath),
    /// There are too many.
    #[error("there are more than {MAX_FILES} files")]
    TooMany,
    /// They are too large.
    #[error("the files have more than {0} bytes together")]
    TooLarge(u64),
    /// They cannot be stored now.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A source tree as a verified NAR, which is not stored yet.
pub(super) struct Packed {
    pub(super) path: NewOrganizationPath,
    pub(super) verified: VerifiedUpload,
    pub(super) nar: StagedFile,
}

impl Engine {
    /// Begins to take in files for an organization, of which only a few uploads may be on the way.
    pub async fn begin_sources(&self, organization: OrganizationId) -> Result<Sources, EngineError> {
        let share = self.spooling().take(organization, MAX_WAIT).await?;
        let staged = self.blobs().staging().create().await?;
        let spool = AsyncBufWriter::with_capacity(BUFFER, staged.to_async()?);
        let max_bytes = self.settings().max_nar_bytes;
        Ok(Sources { staged, spool, size: 0, max_bytes, files: 0, tree: Tree::default(), open: None, share })
    }
}

impl Sources {
    /// Begins with the next file; the one before is complete.
    pub fn begin(&mut self, path: SourcePath) -> Result<(), SourceError> {
        self.end()?;
        if self.files == MAX_FILES {
            return Err(SourceError::TooMany);
        }
        self.files += 1;
        self.open = Some(OpenFile { path, offset: self.size, beginning: Vec::new() });
        Ok(())
    }

    /// Takes the next bytes of the file.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), SourceError> {
        self.size = self.size.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if self.size > self.max_bytes {
            return Err(SourceError::TooLarge(self.max_bytes));
        }
        if let Some(open) = &mut self.open {
            open.beginning.extend(chunk.iter().take(MAGIC_BYTES.saturating_sub(open.beginning.len())));
        }
        Ok(self.spool.write_all(&chunk).await.map_err(EngineError::Spool)?)
    }

    fn end(&mut self) -> Result<(), SourceError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let part =
            Part { offset: open.offset, size: self.size.saturating_sub(open.offset), executable: is_program(&open.beginning) };
        self.tree.insert(&open.path, part).map_err(|taken| match taken {
            Taken::Twice => SourceError::Twice(open.path),
            Taken::Directory => SourceError::Directory(open.path),
        })
    }

    /// The last file is complete too.
    pub async fn finish(&mut self) -> Result<(), SourceError> {
        self.end()?;
        Ok(self.spool.flush().await.map_err(EngineError::Spool)?)
    }

    /// Whether they are a flake, once they are complete.
    pub fn are_a_flake(&self) -> bool {
        self.tree.has_file("flake.nix")
    }

    /// Makes a NAR of the tree, and verifies it like any other.
    pub(super) async fn pack(self, engine: &Engine) -> Result<Packed, EngineError> {
        let nar = engine.blobs().staging().create().await?;
        let (spool, tree, share) = (self.staged, self.tree, self.share);
        let max_bytes = self.max_bytes;
        let packing = tokio::task::spawn_blocking(move || {
            let _share = share;
            pack(&tree, &spool, nar, max_bytes)
        });
        packing.await.map_err(|_| EngineError::Stopping)?
    }
}

fn pack(tree: &Tree, spool: &StagedFile, mut nar: StagedFile, max_bytes: u64) -> Result<Packed, EngineError> {
    let nar_hash = write(tree, spool, &mut nar).map_err(EngineError::Spool)?;
    let address = CAHash::Nar(nar_hash.into());
    let damaged = |error: &dyn std::error::Error| EngineError::Damaged(format!("uploaded sources: {error}"));
    let path = content_address::store_path(NAME, &address, &BTreeSet::new()).map_err(|error| damaged(&error))?;
    let expectation = Expectation::declared(path.clone(), address.clone(), BTreeSet::new(), max_bytes);
    let written = File::open(nar.path()).map_err(EngineError::Spool)?;
    match ingest::verify(BufReader::with_capacity(BUFFER, written), &expectation) {
        Ok(verified) => {
            let path = NewOrganizationPath {
                path,
                nar_hash,
                references: Vec::new(),
                deriver: None,
                content_address: Some(address.to_nix_string()),
            };
            Ok(Packed { path, verified, nar })
        }
        Err(IngestError::TooLarge { max, .. }) => {
            Err(EngineError::TooLarge(format!("the files make a source tree of more than {max} bytes")))
        }
        Err(error) => Err(damaged(&error)),
    }
}

/// Writes the tree as a compressed NAR; the hash of the NAR.
fn write(tree: &Tree, spool: &StagedFile, nar: &mut StagedFile) -> io::Result<NarHash> {
    let mut spool = File::open(spool.path())?;
    let mut encoder = zstd::Encoder::new(BufWriter::with_capacity(BUFFER, nar), LEVEL)?;
    let mut hasher = NixHasher::new(HashAlgorithm::Sha256);
    tree.write_nar(&mut spool, BufWriter::with_capacity(BUFFER, Hashing { to: &mut encoder, hasher: &mut hasher }))?;
    encoder.finish()?.flush()?;
    let digest = hasher.finalize().digest_as_bytes().try_into().map_err(|_| io::Error::other("a SHA-256 has 32 bytes"))?;
    Ok(NarHash(digest))
}

struct Hashing<'a, W> {
    to: W,
    hasher: &'a mut NixHasher,
}

impl<W: Write> Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or(bytes));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// How much of a file tells whether it is a program.
const MAGIC_BYTES: usize = 4;

/// An upload says nothing of permissions. So a file is executable when it begins as a script (`#!`) or as an ELF program does.
fn is_program(beginning: &[u8]) -> bool {
    beginning.starts_with(b"#!") || beginning == b"\x7fELF"
}
