//! Time as the scheduler counts it.

use std::time::Duration;

/// Time since the server started, from a clock that never goes back. The scheduler reads no clock: every event carries one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(Duration);

impl Tick {
    /// The start of the server.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// This long after the start of the server.
    pub const fn after_start(duration: Duration) -> Self {
        Self(duration)
    }

    /// How long after the start of the server this is.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// This much later; far beyond the end of time it stays there.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How many milliseconds after `earlier` this is; zero when it is not after it.
    pub(crate) fn millis_since(self, earlier: Self) -> u64 {
        u64::try_from(self.since(earlier).as_millis()).unwrap_or(u64::MAX)
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
