//! What an organization has had of the workers lately, for its weight: of several the one with the least goes first.

use std::cmp::Ordering;

use crate::Tick;

/// How long what was used counts whole, in milliseconds; then it counts a sixteenth less, and so on: after five minutes it is half of it.
const PART_MILLIS: u64 = 30_000;
const KEPT: (u64, u64) = (15, 16);
/// After so many parts nothing is left.
const PARTS_MAX: u64 = 512;

/// A job that runs counts as if it went on for so long. Otherwise an organization that comes would get every slot until it has had as
/// much as the others had lately, however many it runs at once.
const AHEAD_MILLIS: u64 = 60_000;

/// What an organization gets beside others, until told otherwise.
const WEIGHT: u32 = 100;

/// The jobs of an organization, and the time on slots that they took lately.
///
/// An organization that has had the workers for itself waits a while for one that comes, and that is all: what is long ago does not
/// count. A restart begins anew.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    weight: u32,
    running: u32,
    /// The milliseconds on slots, as far as they still count.
    used: u64,
    /// Until when that is counted, in milliseconds.
    counted: u64,
}

/// What counts when shares are compared: milliseconds on slots, and for which weight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) millis: u64,
    pub(crate) weight: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: WEIGHT, running: 0, used: 0, counted: 0 }
    }
}

impl Share {
    pub(crate) fn set_weight(&mut self, weight: u32) {
        self.weight = weight.max(1);
    }

    pub(crate) fn begin(&mut self, now: Tick) {
        self.count(now.millis_since(Tick::ZERO));
        self.running += 1;
    }

    pub(crate) fn end(&mut self, now: Tick) {
        self.count(now.millis_since(Tick::ZERO));
        self.running -= 1;
    }

    /// What it has had, at a time that is not before what was told last.
    pub(crate) fn load(&self, now: Tick) -> Load {
        let mut at = *self;
        at.count(now.millis_since(Tick::ZERO));
        let ahead = u64::from(at.running).saturating_mul(AHEAD_MILLIS);
        Load { millis: at.used.saturating_add(ahead), weight: at.weight }
    }

    fn count(&mut self, now: u64) {
        if now.saturating_sub(self.counted) > PARTS_MAX * PART_MILLIS {
            self.used = 0;
            self.counted = (now / PART_MILLIS).saturating_sub(PARTS_MAX) * PART_MILLIS;
        }
        while self.counted < now {
            let end = (self.counted / PART_MILLIS + 1) * PART_MILLIS;
            let until = end.min(now);
            self.used += u64::from(self.running) * (until - self.counted);
            self.counted = until;
            if until == end {
                self.used = self.used * KEPT.0 / KEPT.1;
            }
        }
    }
}

impl Load {
    /// Whose turn is first.
    pub(crate) fn compare(self, other: Self) -> Ordering {
        let weighed = |of: Self, by: Self| u128::from(of.millis) * u128::from(by.weight);
        weighed(self, other).cmp(&weighed(other, self))
    }

    /// How many jobs it gets before the other one has got so many and is next.
    pub(crate) fn turns_before(self, other: Self, jobs: usize) -> usize {
        let jobs = u64::try_from(jobs).unwrap_or(u64::MAX);
        let reached = other.millis.saturating_add(jobs.saturating_mul(AHEAD_MILLIS));
        let fair = (u128::from(reached) * u128::from(self.weight)).div_ceil(u128::from(other.weight));
        let turns = fair.saturating_sub(u128::from(self.millis)).div_ceil(u128::from(AHEAD_MILLIS));
        usize::try_from(turns).unwrap_or(usize::MAX)
    }
}
