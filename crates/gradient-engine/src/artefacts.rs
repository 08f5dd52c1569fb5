//! Files and directories straight out of stored, compressed NARs.
//!
//! The listing of a NAR tells what is in it and where; what is asked for is decompressed as it is sent. Beside the listing, that
//! needs the same small amount of memory whatever the size.

mod archive;
mod extraction;
mod resolution;

use std::{fmt, ops::Range, time::Duration};

use gradient_blobs::{Blob, BlobKey};
use gradient_domain::{CacheId, OrganizationId};
use gradient_nix::{NarHash, StorePath, StorePathHash, nar::Listing};
use gradient_storage::cache_paths;

use crate::{Engine, EngineError, ServedCache, Share};
use archive::Entries;
pub(crate) use extraction::Stored;
use extraction::{Decompressed, Extraction, Work};
use resolution::resolve;

/// How long an extraction may wait for others to end.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A file or a directory inside a store path. While it lives, it counts as one extraction.
pub struct Artefact {
    /// What it is called: the last name of its path, or the store path's name for the store path itself.
    pub name: String,
    /// The NAR that it is in; with its place there it says what it is, and never changes.
    pub nar_hash: NarHash,
    /// What it is.
    pub kind: ArtefactKind,
    place: Place,
    share: Share<Owner>,
}

/// Whose it is: only so much of each is sent at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Cache(CacheId),
    Organization(OrganizationId),
}

/// What an artefact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtefactKind {
    /// A file, with its size in bytes.
    File(u64),
    /// A directory; it is sent as `.tar.zst`.
    Directory,
}

enum Place {
    File { nar_offset: u64, size: u64 },
    Directory(Entries),
}

impl Engine {
    /// What is at `path` in the store path with this hash, when the cache has it. Symlinks are followed as long as they stay
    /// inside the store path.
    pub async fn cached_artefact(
        &self,
        cache: &ServedCache,
        hash: StorePathHash,
        path: String,
    ) -> Result<Option<Artefact>, EngineError> {
        let id = cache.id;
        let row = self
            .storage()
            .read(async move |conn: &mut gradient_storage::Conn| cache_paths::lookup_by_hash(conn, id, hash).await)
            .await?;
        match row {
            Some(row) => self.artefact(Owner::Cache(id), row.path, row.nar_hash, path).await,
            None => Ok(None),
        }
    }

    pub(crate) async fn artefact(
        &self,
        owner: Owner,
        store_path: StorePath,
        nar_hash: NarHash,
        path: String,
    ) -> Result<Option<Artefact>, EngineError> {
        let share = self.extracting().take(owner, MAX_WAIT).await?;
        let Some(json) = self.nar_listing(nar_hash).await? else { return Ok(None) };
        let found = tokio::task::spawn_blocking(move || find(&json, &store_path, &path)).await;
        let Some((name, place)) = found.map_err(|_| EngineError::Stopping)?? else { return Ok(None) };
        let kind = match place {
            Place::File { size, .. } => ArtefactKind::File(size),
            Place::Directory(_) => ArtefactKind::Directory,
        };
        Ok(Some(Artefact { name, nar_hash, kind, place, share }))
    }

    /// The bytes of a file, or those in a range that is within its size; all of a directory as `.tar.zst`, whatever the range.
    /// `None` when it has gone meanwhile. The stream may break off with an error; a file is complete with its last byte.
    pub async fn open_artefact(&self, artefact: Artefact, range: Range<u64>) -> Result<Option<Decompressed>, EngineError> {
        let work = match artefact.place {
            Place::File { nar_offset, size } => {
                let (start, end) = (range.start.min(size), range.end.min(size));
                Work::File(nar_offset.saturating_add(start)..nar_offset.saturating_add(end))
            }
            Place::Directory(entries) => Work::Archive(entries),
        };
        match self.blobs().get(&BlobKey::nar(&artefact.nar_hash)).await? {
            Some(nar) => Extraction::start(nar, work, artefact.share).map(Some),
            None => Ok(None),
        }
    }
}

/// All that is in a compressed blob, no faster than it is read. The share lasts until the stream has ended or is dropped.
pub(crate) fn decompress(stored: Blob, share: impl Send + 'static) -> Result<Decompressed, EngineError> {
    Extraction::start(stored, Work::All, share)
}

/// What is at each of these paths of a store path whose NAR is stored; `None` where nothing is.
pub(crate) async fn kinds(
    engine: &Engine,
    store_path: StorePath,
    nar_hash: NarHash,
    paths: Vec<String>,
) -> Result<Vec<Option<ArtefactKind>>, EngineError> {
    let json = engine.nar_listing(nar_hash).await?;
    let json = json.ok_or_else(|| EngineError::Damaged(format!("the listing of {store_path} is gone")))?;
    let kinds = tokio::task::spawn_blocking(move || {
        let listing = Listing::from_json(&json).map_err(|error| EngineError::Damaged(error.to_string()))?;
        let kind = |path: &String| {
            Some(match resolve(&listing, &store_path, path)? {
                resolution::Found::File { size, .. } => ArtefactKind::File(size),
                resolution::Found::Directory(_) => ArtefactKind::Directory,
            })
        };
        Ok(paths.iter().map(kind).collect())
    });
    kinds.await.map_err(|_| EngineError::Stopping)?
}

fn find(json: &[u8], store_path: &StorePath, path: &str) -> Result<Option<(String, Place)>, EngineError> {
    let listing = Listing::from_json(json).map_err(|error| EngineError::Damaged(error.to_string()))?;
    let Some(found) = resolve(&listing, store_path, path) else { return Ok(None) };
    let name = path.rsplit('/').find(|name| !name.is_empty()).unwrap_or_else(|| store_path.name()).to_owned();
    Ok(Some(match found {
        resolution::Found::File { nar_offset, size } => (name, Place::File { nar_offset, size }),
        resolution::Found::Directory(entries) => {
            let entries = Entries::new(&name, entries);
            (name, Place::Directory(entries))
        }
    }))
}

impl fmt::Debug for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artefact").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}
