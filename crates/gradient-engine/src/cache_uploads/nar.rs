use std::time::Duration;

use bytes::Bytes;
use gradient_blobs::StagedFile;
use gradient_cache_protocol::ingest::{self, IngestError, NarFileName, ReceivedNar};
use gradient_domain::{CacheId, Moment, UserId};
use gradient_storage::{
    Conn,
    uploaded_nars::{self, NewUploadedNar},
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::Uploader;
use crate::{
    Engine, EngineError, ServedCache, Share, measures,
    uploads::{Incoming, incoming, max_compressed, store},
};

/// How long an upload may wait for others of the same user to end.
pub(super) const MAX_WAIT: Duration = Duration::from_mins(1);

/// How long the verifier may take for what waits for it.
const MAX_PAUSE: Duration = Duration::from_mins(2);

/// A NAR on its way to a cache. Feed it chunks, then finish it; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct NarUpload {
    engine: Engine,
    cache: CacheId,
    uploader: UserId,
    name: NarFileName,
    chunks: mpsc::Sender<Bytes>,
    verifier: JoinHandle<Result<(ReceivedNar, StagedFile), IngestError>>,
    _share: Share<UserId>,
}

impl Engine {
    /// Whether the uploader has a NAR of this name in the cache that no path may have claimed yet.
    pub async fn has_uploaded_nar(
        &self,
        cache: &ServedCache,
        uploader: &Uploader,
        name: &NarFileName,
    ) -> Result<bool, EngineError> {
        let (cache, uploader, name) = (cache.id, uploader.user, name.to_string());
        let find = async move |conn: &mut Conn| uploaded_nars::lookup(conn, cache, uploader, &name).await;
        Ok(self.storage().read(find).await?.is_some())
    }

    /// Begins to take in a NAR. `Busy` when the user has as many on the way as may be.
    pub async fn begin_nar(&self, cache: &ServedCache, uploader: &Uploader, name: NarFileName) -> Result<NarUpload, EngineError> {
        let share = self.receiving().take(uploader.user, MAX_WAIT).await?;
        let staged = self.blobs().staging().create().await?;
        let max_nar_bytes = self.settings().max_nar_bytes;
        let (chunks, from) = incoming(max_compressed(max_nar_bytes));
        let named = name.clone();
        let verifier = tokio::task::spawn_blocking(move || receive(from, &named, staged, max_nar_bytes));
        Ok(NarUpload { engine: self.clone(), cache: cache.id, uploader: uploader.user, name, chunks, verifier, _share: share })
    }
}

fn receive(
    from: Incoming,
    name: &NarFileName,
    mut staged: StagedFile,
    max_nar_bytes: u64,
) -> Result<(ReceivedNar, StagedFile), IngestError> {
    let received = ingest::receive(from, name, &mut staged, max_nar_bytes)?;
    Ok((received, staged))
}

impl NarUpload {
    /// Takes the next bytes, as they came; waits while the verifier is behind. Whether it wants more: otherwise it has given up, and
    /// [`finish`](Self::finish) says why.
    pub async fn write(&mut self, chunk: Bytes) -> bool {
        matches!(tokio::time::timeout(MAX_PAUSE, self.chunks.send(chunk)).await, Ok(Ok(())))
    }

    /// Waits for the verdict, and keeps what is good for the narinfo that comes next.
    pub async fn finish(self) -> Result<(), EngineError> {
        let Self { engine, cache, uploader, name, chunks, verifier, _share } = self;
        drop(chunks);
        let (received, staged) = verifier.await.map_err(|_| EngineError::Stopping)??;
        keep(&engine, cache, uploader, &name, received, staged).await
    }
}

/// Stores what was found good, and notes it as the uploader's.
pub(super) async fn keep(
    engine: &Engine,
    cache: CacheId,
    uploader: UserId,
    name: &NarFileName,
    received: ReceivedNar,
    staged: StagedFile,
) -> Result<(), EngineError> {
    let now = Moment::now();
    let nar = &received.upload.nar;
    // Until it has its row, so that nobody removes the file in between.
    let _turn = engine.turn_at(&nar.nar_hash).await;
    let stored = store(engine, &received.upload, staged, now).await?;
    measures::nar_uploaded(nar.nar_size);
    let row = NewUploadedNar {
        cache,
        uploader,
        name: name.to_string(),
        nar_hash: nar.nar_hash,
        sent_hash: received.sent_hash,
        sent_size: i64::try_from(received.sent_size).unwrap_or(i64::MAX),
        mentions: received.mentions.to_bytes(),
        created_at: now,
    };
    let insert = async move |conn: &mut Conn| {
        stored.claim(conn).await?;
        uploaded_nars::insert(conn, &row).await
    };
    Ok(engine.storage().transaction(insert).await?)
}
