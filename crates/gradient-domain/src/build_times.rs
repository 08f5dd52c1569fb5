//! How long builders may run, and how long they may print nothing.

use serde::{Deserialize, Serialize};

/// No build is allowed more than this explicitly, in seconds: ten years. Nix counts in types in which much more overflows.
const MAX_SECS: u64 = 10 * 365 * 24 * 60 * 60;

/// Bounds on a builder's time, in seconds; `None` says nothing, or that there is no bound. The clock starts when the builder starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BuildTimes {
    /// How long it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
    /// How long it may print nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_silent_secs: Option<u64>,
}

impl BuildTimes {
    /// Whether nothing is said.
    pub const fn is_empty(&self) -> bool {
        self.timeout_secs.is_none() && self.max_silent_secs.is_none()
    }

    /// What somebody asked for, as far as it makes sense: no time at all says nothing, and ten years are enough for everybody.
    #[must_use]
    pub fn sound(self) -> Self {
        let sound = |secs: Option<u64>| secs.filter(|secs| *secs > 0).map(|secs| secs.min(MAX_SECS));
        Self { timeout_secs: sound(self.timeout_secs), max_silent_secs: sound(self.max_silent_secs) }
    }

    /// These, and `default` where nothing is said.
    #[must_use]
    pub fn or(self, default: Self) -> Self {
        Self {
            timeout_secs: self.timeout_secs.or(default.timeout_secs),
            max_silent_secs: self.max_silent_secs.or(default.max_silent_secs),
        }
    }

    /// Bounds that both of these allow; nothing means no bound.
    #[must_use]
    pub fn at_most(self, bound: Self) -> Self {
        let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        Self {
            timeout_secs: least(self.timeout_secs, bound.timeout_secs),
            max_silent_secs: least(self.max_silent_secs, bound.max_silent_secs),
        }
    }

    /// Bounds that allow what either of these allows; nothing means no bound.
    #[must_use]
    pub fn widest(self, other: Self) -> Self {
        let most = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.max(b));
        Self {
            timeout_secs: most(self.timeout_secs, other.timeout_secs),
            max_silent_secs: most(self.max_silent_secs, other.max_silent_secs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn times(timeout_secs: Option<u64>, max_silent_secs: Option<u64>) -> BuildTimes {
        BuildTimes { timeout_secs, max_silent_secs }
    }

    #[test]
    fn what_makes_no_sense_is_not_asked_for() {
        assert_eq!(times(Some(0), Some(u64::MAX)).sound(), times(None, Some(MAX_SECS)));
        assert_eq!(times(Some(5), None).sound(), times(Some(5), None));
        assert!(times(Some(0), Some(0)).sound().is_empty());
    }

    #[test]
    fn bounds_are_combined() {
        assert_eq!(times(Some(5), None).or(times(Some(7), Some(9))), times(Some(5), Some(9)));
        assert_eq!(times(Some(5), None).at_most(times(Some(3), Some(9))), times(Some(3), Some(9)));
        assert_eq!(times(Some(5), None).at_most(times(None, None)), times(Some(5), None));
        assert_eq!(times(Some(5), Some(1)).widest(times(Some(3), None)), times(Some(5), None));
    }
}
