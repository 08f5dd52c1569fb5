//! How long to wait before trying again.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Delays that double up to a bound, each shortened at random by up to a half so that many workers do not come at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    bound: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts with `first` and ends at `bound`.
    pub(crate) fn new(first: Duration, bound: Duration) -> Self {
        Self { first, bound, next: first }
    }

    /// The next delay.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let whole = self.next.min(self.bound);
        self.next = whole.saturating_mul(2);
        // Each `RandomState` has other keys; that is random enough here.
        let random = RandomState::new().hash_one(()) % 1000;
        whole.mul_f64(1.0 - f64::from(u16::try_from(random).unwrap_or(0)) / 2000.0)
    }

    /// Something succeeded: the next delay is the first one again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_bound() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for bound in [100, 200, 400, 800, 1000, 1000] {
            let delay = backoff.next_delay();
            assert!(
                delay <= Duration::from_millis(bound) && delay > Duration::from_millis(bound / 2 - 1),
                "{delay:?} for {bound}"
            );
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
