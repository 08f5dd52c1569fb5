//! Removes for good what nobody can see any more: what was deleted, evaluations beyond those that their projects keep, and what
//! then nothing refers to.
//!
//! Each transaction takes few rows, and after each the writer belongs to others for as long as it took. Nothing is remembered
//! between them: whatever a stop of the server leaves is found by the next pass.

mod blobs;
mod graph;
mod owners;
mod uploads;

use std::time::{Duration, Instant};

use gradient_domain::Moment;
use gradient_storage::{AsyncTask, Conn, StorageError, build_durations, email_verifications, sessions, users};

use crate::{Engine, EngineError, collection, durations};

/// From one pass to the next, when nobody deletes anything.
const EVERY: Duration = Duration::from_mins(5);

/// Rows in one transaction.
const ROWS: i64 = 500;

/// How long builds and commits stay that nobody needs: whoever still writes of them has come to an end.
const QUIET: Duration = Duration::from_hours(1);

/// How long derivations stay that nothing refers to: longer than an evaluation takes, which may come to what needs them at its end.
const UNREFERRED: Duration = Duration::from_hours(6);

/// How long NARs stay that nobody has. Longer than an upload takes, so that who was told that one is there still finds it.
const GRACE: Duration = Duration::from_hours(24);

/// How long somebody has to prove the address they registered with, before it is anybody's again.
const UNPROVEN: Duration = Duration::from_hours(48);

/// Passes until the engine is told to stop.
pub(crate) fn start(engine: Engine) {
    tokio::spawn(async move {
        let stopping = engine.clone();
        tokio::select! {
            () = stopping.stopped() => {}
            () = run(engine) => {}
        }
    });
}

async fn run(engine: Engine) {
    loop {
        tokio::select! {
            () = engine.something_to_reap().notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = engine.reap(Moment::now()).await {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot remove all that was deleted; trying again later");
        }
    }
}

impl Engine {
    /// One pass, as of `now`. What one part of it fails at is left for the next pass, and the others go on; the answer is the first
    /// failure.
    pub async fn reap(&self, now: Moment) -> Result<(), EngineError> {
        let _turn = self.reaping().lock().await;
        let quiet = now.minus(QUIET);
        let mut outcome = Ok(());
        for part in [
            owners::evaluations(self).await,
            graph::builds(self, quiet, now.minus(UNREFERRED)).await,
            graph::derivations(self, now.minus(UNREFERRED)).await,
            graph::realisations(self, now.minus(UNREFERRED)).await,
            graph::commits(self, quiet).await,
            owners::remove(self).await,
            uploads::expired(self, now).await,
            collection::collect_due(self, now).await,
            blobs::condemn_nars(self, now).await,
            blobs::remove_nars(self, now.minus(GRACE)).await,
            blobs::remove_logs(self).await,
            expired(self, now).await,
            unproven_users(self, now).await,
            forgotten_packages(self).await,
        ] {
            outcome = outcome.and(part);
        }
        outcome
    }
}

/// Sessions and verifications that ended by themselves. They are good for nothing from then on, so this is only about space.
async fn expired(engine: &Engine, now: Moment) -> Result<(), EngineError> {
    while step(engine, async move |conn: &mut Conn| sessions::delete_expired(conn, now, ROWS).await).await? > 0 {}
    while step(engine, async move |conn: &mut Conn| email_verifications::delete_expired(conn, now, ROWS).await).await? > 0 {}
    Ok(())
}

/// Users who registered with an address, never opened the mail, and are nobody anywhere.
async fn unproven_users(engine: &Engine, now: Moment) -> Result<(), EngineError> {
    if !engine.verifies_email() {
        // Without a proof the account is as good as any.
        return Ok(());
    }
    let before = now.minus(UNPROVEN);
    while step(engine, async move |conn: &mut Conn| users::delete_unproven(conn, before, ROWS).await).await? > 0 {}
    Ok(())
}

/// Packages that were not built for so long that others are of more use.
async fn forgotten_packages(engine: &Engine) -> Result<(), EngineError> {
    step(engine, async move |conn: &mut Conn| build_durations::delete_beyond(conn, durations::KEPT).await).await?;
    Ok(())
}

/// One transaction, and a pause as long as it took.
async fn step<R, F>(engine: &Engine, f: F) -> Result<R, EngineError>
where
    for<'r> F: AsyncFnOnce(&'r mut Conn) -> Result<R, StorageError>
        + AsyncTask<&'r mut Conn, Result<R, StorageError>, Running: Send>
        + Send
        + 'static,
    R: Send + 'static,
{
    let began = Instant::now();
    let done = engine.storage().transaction(f).await?;
    tokio::time::sleep(began.elapsed()).await;
    Ok(done)
}
