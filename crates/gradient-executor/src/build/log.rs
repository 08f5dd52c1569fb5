//! What a builder prints, on its way to the server.

use std::time::Duration;

use gradient_domain::{Failure, FailureKind};
use gradient_nix_daemon::{Build, BuildResult, Event};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::lost;
use crate::job::{JobContext, failure};

/// How many lines may wait between the daemon and the log; a builder that is faster than that has to wait.
const LINES: usize = 256;

/// Lines go on together, once they are so many bytes, or so old.
const BATCH_BYTES: usize = 64 << 10;
const BATCH_AGE: Duration = Duration::from_millis(200);

/// How a build ended.
pub(super) struct Ended {
    pub(super) result: BuildResult,
    /// How long ago the builder printed its last line, or began.
    pub(super) quiet: Duration,
}

/// Follows a build to its end and puts what it prints into the log of its job.
pub(super) async fn follow(build: Build<'_>, max_bytes: u64, context: &JobContext) -> Result<Ended, Failure> {
    let (lines, printed) = mpsc::channel(LINES);
    // Events must be read without a break, for half a message would be lost with the future that reads it.
    let (result, ()) = tokio::join!(read(build, lines, max_bytes), write(printed, context));
    result
}

async fn read(mut build: Build<'_>, lines: mpsc::Sender<Vec<u8>>, max_bytes: u64) -> Result<Ended, Failure> {
    let mut bytes = 0_u64;
    let mut printed = Instant::now();
    while let Some(event) = build.next().await.map_err(lost)? {
        match event {
            Event::LogLine(mut line) => {
                printed = Instant::now();
                line.push(b'\n');
                bytes = bytes.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
                if bytes > max_bytes {
                    let message = format!("the builder printed more than {max_bytes} bytes");
                    return Err(failure(FailureKind::LogLimit, message));
                }
                if lines.send(line).await.is_err() {
                    return Err(failure(FailureKind::Transient, "the log is closed"));
                }
            }
            Event::Message(message) => tracing::debug!(%message, "nix daemon"),
            Event::Phase(_) | Event::Progress { .. } | Event::Started { .. } | Event::Stopped { .. } => {}
        }
    }
    let quiet = printed.elapsed();
    Ok(Ended { result: build.result().await.map_err(lost)?, quiet })
}

async fn write(mut printed: mpsc::Receiver<Vec<u8>>, context: &JobContext) {
    while let Some(mut batch) = printed.recv().await {
        let due = Instant::now() + BATCH_AGE;
        while batch.len() < BATCH_BYTES {
            match timeout_at(due, printed.recv()).await {
                Ok(Some(line)) => batch.extend(line),
                Ok(None) | Err(_) => break,
            }
        }
        context.log(&batch).await;
    }
}
