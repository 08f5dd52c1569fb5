//! The signals that end the worker.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for the first SIGTERM or SIGINT. From then on a second one ends the process at once.
pub async fn requested() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("asked a second time; ending at once");
        std::process::exit(130);
    });
    Ok(())
}
