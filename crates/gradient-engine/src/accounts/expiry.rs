//! Sessions and verifications that ended by themselves, removed in the background.

use std::time::Duration;

use gradient_domain::Moment;
use gradient_storage::{Conn, StorageError, email_verifications, sessions};
use tokio::time::{MissedTickBehavior, interval};

use crate::Engine;

/// How often it is looked for them. They are good for nothing from their end on, so this is only about space.
const ROUND: Duration = Duration::from_mins(10);
/// How many are removed at once, so that nobody waits long for the database.
const BATCH: i64 = 500;

/// Removes them until the engine is told to stop.
pub(crate) fn start(engine: Engine) {
    tokio::spawn(async move {
        let stopping = engine.clone();
        tokio::select! {
            () = stopping.stopped() => {}
            () = rounds(engine) => {}
        }
    });
}

async fn rounds(engine: Engine) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        if let Err(error) = engine.remove_expired(Moment::now()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot remove what has ended");
        }
    }
}

impl Engine {
    async fn remove_expired(&self, now: Moment) -> Result<(), StorageError> {
        loop {
            let batch = async move |conn: &mut Conn| {
                let ended = sessions::delete_expired(conn, now, BATCH).await?;
                Ok(ended + email_verifications::delete_expired(conn, now, BATCH).await?)
            };
            if self.storage().write(batch).await? == 0 {
                return Ok(());
            }
        }
    }
}
