//! How long builds take.

use std::time::Duration;

/// What a build is expected to take of which nothing is known: about the mean of large package sets.
pub const UNKNOWN_DURATION: Duration = Duration::from_secs(13);
