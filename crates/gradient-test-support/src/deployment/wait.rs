//! Waiting for a condition, never for a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::DeploymentError;

static INTERRUPT: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on every wait of this process ends with [`DeploymentError::Interrupted`] once this flag is set. Only the first call
/// counts.
pub fn interrupt_when(flag: Arc<AtomicBool>) {
    let _ = INTERRUPT.set(flag);
}

/// Asks again and again until there is an answer, at most for `limit`. `what` completes "waited in vain for".
pub fn until<T, E: From<DeploymentError>>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>, E>,
) -> Result<T, E> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        if INTERRUPT.get().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(DeploymentError::Interrupted.into());
        }
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        if started.elapsed() >= limit {
            return Err(DeploymentError::TimedOut { what: what.to_owned(), limit }.into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
