//! Numbers that are shown.

use std::time::Duration;

/// A count to calculate with.
#[expect(clippy::cast_precision_loss, reason = "no figure has more than three digits that count")]
pub(super) const fn number(count: u64) -> f64 {
    count as f64
}

/// Bytes in MiB.
pub(super) fn mib(bytes: u64) -> f64 {
    number(bytes) / f64::from(1 << 20)
}

/// The time in the middle.
pub(super) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
