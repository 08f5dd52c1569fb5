//! Fetching a NAR from a cache elsewhere: verified on its way, as an upload is.

use std::{
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use gradient_auth::Caller;
use gradient_blobs::StagedFile;
use gradient_cache_protocol::{
    ForeignPath,
    ingest::{self, IngestError, VerifiedUpload},
};
use gradient_domain::Moment;
use reqwest::Response;
use tokio::{sync::watch, time::timeout};

use super::{
    Running, claim,
    progress::{Failure, Progress},
};
use crate::{
    Engine, EngineError, ServedCache,
    cache_uploads::{all_found, expectation},
    measures,
    substituter::upstream::Offer,
    uploads::{Incoming, incoming, max_compressed, store},
};

/// How long a NAR may wait for others of its cache.
const MAX_WAIT: Duration = Duration::from_mins(2);

/// How long an upstream may send nothing.
const MAX_PAUSE: Duration = Duration::from_secs(20);

/// How fast an upstream has to be in the long run, in bytes per second.
const SPEED: u64 = 64 << 10;

/// Why a NAR has not become the cache's.
enum Trouble {
    /// The upstream does not have it, or it is not what the upstream says: asking again does not help.
    Lie(Failure),
    /// The upstream does not answer.
    Dead(String),
    /// It is this server's.
    Here(Failure),
}

impl From<EngineError> for Trouble {
    fn from(error: EngineError) -> Self {
        Self::Here(match error {
            EngineError::Busy => Failure::Busy,
            error => Failure::Broken(error.to_string()),
        })
    }
}

/// Fetches to the end, and publishes what is good.
pub(super) async fn run(running: Running, cache: Arc<ServedCache>, offer: Offer, progress: watch::Sender<Progress>) {
    let engine = running.engine.clone();
    let outcome = tokio::select! {
        () = engine.stopped() => Err(EngineError::Stopping.into()),
        outcome = pull(&engine, &cache, &offer, &progress) => outcome,
    };
    let Err(trouble) = outcome else { return };
    let (upstreams, path) = (&engine.substituter().upstreams, &offer.path.info().path);
    let failure = match trouble {
        Trouble::Lie(failure) => {
            // Another upstream may have it.
            upstreams.answers.insert(&offer.upstream, path.hash(), None);
            failure
        }
        Trouble::Dead(why) => {
            upstreams.health.failed(&offer.upstream, &why);
            Failure::Broken(why)
        }
        Trouble::Here(failure) => failure,
    };
    tracing::warn!(upstream = %offer.upstream, %path, ?failure, "a NAR cannot be pulled through");
    // Whoever asks again does not join this one.
    drop(running);
    progress.send_modify(|now| {
        now.end.get_or_insert(Err(failure));
    });
}

async fn pull(engine: &Engine, cache: &ServedCache, offer: &Offer, progress: &watch::Sender<Progress>) -> Result<(), Trouble> {
    let upstreams = &engine.substituter().upstreams;
    let _turn = upstreams.pulls.turns.take(cache.id, MAX_WAIT).await.map_err(EngineError::from)?;
    let path = &offer.path;
    let opened = upstreams.client.open_nar(path.url(), engine.settings().allow_local_repositories);
    let response = match timeout(MAX_PAUSE, opened).await {
        Ok(Ok(Some(response))) => response,
        Ok(Ok(None)) => return Err(Trouble::Lie(Failure::Absent)),
        Ok(Err(error)) => return Err(Trouble::Dead(error.to_string())),
        Err(_) => return Err(Trouble::Dead("no answer in time".to_owned())),
    };
    let (verified, staged) = receive(engine, path, response, progress).await?;
    progress.send_modify(|now| now.end = Some(Ok(())));

    let (new, now) = (claim(path.info().clone()), Moment::now());
    // By whoever may read the cache.
    let elsewhere = engine.servable_elsewhere(cache, &Caller::Anonymous, &new).await?;
    // Until it has its row, so that nobody removes the file in between.
    let _turn = engine.turn_at(&verified.nar.nar_hash).await;
    let stored = store(engine, &verified, staged, now).await?;
    measures::nar_uploaded(verified.nar.nar_size);
    engine.publish_checked(cache, new, elsewhere, Some(stored)).await?;
    Ok(())
}

/// Takes the NAR in; what is good of it.
async fn receive(
    engine: &Engine,
    path: &Arc<ForeignPath>,
    mut response: Response,
    progress: &watch::Sender<Progress>,
) -> Result<(VerifiedUpload, StagedFile), Trouble> {
    let info = path.info();
    let max_bytes = info.file_size.unwrap_or(u64::MAX).min(max_compressed(info.nar_size));
    let staged = engine.blobs().staging().create().await.map_err(EngineError::from)?;
    let reader = staged.reader().map_err(EngineError::from)?;
    progress.send_modify(|now| now.file = Some(reader));
    let (chunks, from) = incoming(max_bytes);
    let (kept, promised) = (Kept { staged, progress: progress.clone() }, Arc::clone(path));
    let verifier = tokio::task::spawn_blocking(move || verify(from, &promised, kept));

    let end = Instant::now() + MAX_PAUSE + Duration::from_secs(max_bytes / SPEED);
    let broken = loop {
        let patience = end.saturating_duration_since(Instant::now()).min(MAX_PAUSE);
        match timeout(patience, response.chunk()).await {
            // The verifier says why when it has enough.
            Ok(Ok(Some(chunk))) => {
                if chunks.send(chunk).await.is_err() {
                    break None;
                }
            }
            Ok(Ok(None)) => break None,
            Ok(Err(error)) => break Some(error.to_string()),
            Err(_) => break Some("it is too slow".to_owned()),
        }
    };
    drop(chunks);
    let verdict = verifier.await.map_err(|_| EngineError::Stopping)?;
    if let Some(why) = broken {
        return Err(Trouble::Dead(why));
    }
    verdict.map_err(|error| match error {
        IngestError::Keep(error) => EngineError::Spool(error).into(),
        // Also that more came than the narinfo says.
        lie => Trouble::Lie(Failure::Broken(lie.to_string())),
    })
}

/// Runs on a thread of its own.
fn verify(from: Incoming, path: &ForeignPath, mut kept: Kept) -> Result<(VerifiedUpload, StagedFile), IngestError> {
    let info = path.info();
    let mut expectation = expectation(&info.path, &info.references, info.nar_size);
    expectation.nar_hash = Some(info.nar_hash);
    expectation.nar_size = Some(info.nar_size);
    expectation.file_hash = info.file_hash;
    expectation.file_size = info.file_size;
    expectation.content_address.clone_from(&info.content_address);
    let verified = ingest::receive_expected(from, path.compression(), &mut kept, &expectation)?;
    all_found(&info.path, &info.references, &verified)?;
    Ok((verified, kept.staged))
}

/// The file, and those who read behind.
struct Kept {
    staged: StagedFile,
    progress: watch::Sender<Progress>,
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.staged.write(bytes)?;
        self.progress.send_modify(|now| now.written = now.written.saturating_add(u64::try_from(count).unwrap_or(0)));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.staged.flush()
    }
}
