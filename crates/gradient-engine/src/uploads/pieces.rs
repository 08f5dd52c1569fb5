//! NARs of workers that come in pieces, because something on the way cuts what is large. What came so far is a file that lives as
//! long as the assignment, and not longer than the server: who goes on after that begins anew.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::Read as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use gradient_blobs::StagedFile;
use gradient_cache_protocol::ingest;
use gradient_domain::{Epoch, Job, WorkerId};
use gradient_nix::StorePath;

use super::{MAX_PAUSE, SourceDeclaration, UploadError, keep, max_compressed};
use crate::{Engine, EngineError, leases::Lease};

/// How many NARs of a worker may have begun.
const MAX_BEGUN: usize = 16;

/// What has come in pieces and is not finished.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Mutex<HashMap<Key, Slot>>);

/// For which assignment, and which path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    worker: WorkerId,
    job: Job,
    epoch: Epoch,
    path: StorePath,
}

/// One NAR, which one request at a time goes on with.
type Slot = Arc<tokio::sync::Mutex<Option<Begun>>>;

#[derive(Debug)]
struct Begun {
    file: StagedFile,
    length: u64,
}

impl Pieces {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lookup(&self, key: &Key) -> Option<Slot> {
        self.lock().get(key).cloned()
    }

    /// The NAR's place, made when there is none.
    fn place(&self, key: Key) -> Result<Slot, UploadError> {
        let mut all = self.lock();
        let begun = all.keys().filter(|other| other.worker == key.worker).count();
        match all.entry(key) {
            Entry::Occupied(slot) => Ok(slot.get().clone()),
            Entry::Vacant(_) if begun >= MAX_BEGUN => Err(UploadError::Busy),
            Entry::Vacant(place) => Ok(place.insert(Slot::default()).clone()),
        }
    }
}

impl Engine {
    /// How many bytes of a path's NAR have come in pieces.
    pub async fn pieces_offset(&self, token: &str, job: Job, epoch: Epoch, path: StorePath) -> Result<u64, UploadError> {
        let key = self.pieces_key(token, job, epoch, path)?.0;
        let Some(slot) = self.pieces().lookup(&key) else { return Ok(0) };
        let begun = taken(&slot).await?;
        Ok(begun.as_ref().map_or(0, |begun| begun.length))
    }

    /// Takes the next piece; how many bytes have come then. What came of a piece that breaks off is kept.
    pub async fn write_piece<E>(
        &self,
        token: &str,
        job: Job,
        epoch: Epoch,
        path: StorePath,
        offset: u64,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64, UploadError> {
        let (key, lease) = self.pieces_key(token, job, epoch, path)?;
        let _permit = self.upload_permit(lease).await?;
        let path = key.path.clone();
        self.forget_pieces();
        let slot = self.pieces().place(key)?;
        let mut place = taken(&slot).await?;
        let found = place.as_ref().map_or(0, |begun| begun.length);
        if offset > 0 && offset != found {
            return Err(UploadError::WrongOffset { path, found });
        }
        if offset == 0 {
            let file = self.blobs().staging().create().await.map_err(EngineError::from)?;
            *place = Some(Begun { file, length: 0 });
        }
        let Some(begun) = place.as_mut() else { return Err(UploadError::WrongOffset { path, found }) };
        let max = max_compressed(self.settings().max_nar_bytes);
        let mut body = std::pin::pin!(body);
        loop {
            match tokio::time::timeout(MAX_PAUSE, body.next()).await {
                Ok(Some(Ok(bytes))) => {
                    let length = begun.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                    if length > max {
                        return Err(UploadError::TooLarge(path));
                    }
                    // At its place: whoever goes on after a request that broke off here sends the same bytes again.
                    begun.file.write_at(bytes, begun.length).await.map_err(EngineError::from)?;
                    begun.length = length;
                }
                Ok(None) => return Ok(begun.length),
                Ok(Some(Err(_))) | Err(_) => return Err(UploadError::Incomplete(path)),
            }
        }
    }

    /// Makes a NAR of the pieces, as if it had come at once. Of what is refused nothing is left.
    pub async fn finish_pieces(
        &self,
        token: &str,
        job: Job,
        epoch: Epoch,
        path: StorePath,
        declared: Option<SourceDeclaration>,
    ) -> Result<(), UploadError> {
        let (key, lease) = self.pieces_key(token, job, epoch, path)?;
        let _permit = self.upload_permit(lease).await?;
        let path = key.path.clone();
        let slot = self.pieces().lookup(&key).ok_or_else(|| UploadError::Incomplete(path.clone()))?;
        let mut place = taken(&slot).await?;
        let (purpose, expectation) = self.purpose_of(job, lease, &path, declared).await?;
        let Begun { file, length } = place.take().ok_or_else(|| UploadError::Incomplete(path.clone()))?;
        self.pieces().lock().remove(&key);
        let reader = file.reopen().map_err(EngineError::from)?.take(length);
        let verdict = tokio::task::spawn_blocking(move || ingest::verify(reader, &expectation));
        let verified = verdict.await.map_err(|_| EngineError::Stopping)??;
        keep(self, purpose, path, verified, file).await
    }

    /// Forgets what has come for assignments that have ended.
    pub(crate) fn forget_pieces(&self) {
        self.pieces().lock().retain(|key, _| self.held_lease(key.job, key.epoch, key.worker).is_some());
    }

    fn pieces_key(&self, token: &str, job: Job, epoch: Epoch, path: StorePath) -> Result<(Key, Lease), UploadError> {
        let lease = self.lease_of(token, job, epoch)?;
        Ok((Key { worker: lease.worker, job, epoch, path }, lease))
    }
}

/// The NAR, once nobody else goes on with it: the request before may not have ended here yet.
async fn taken(slot: &Slot) -> Result<tokio::sync::MutexGuard<'_, Option<Begun>>, UploadError> {
    tokio::time::timeout(MAX_PAUSE, slot.lock()).await.map_err(|_| UploadError::Busy)
}
