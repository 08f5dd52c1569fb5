//! How long builds take, learnt from how long they took.
//!
//! A build is expected to take what earlier builds of the same package took. The version does not count, as a new one takes about
//! as long as the one before. Of a package that was never built this looks at others, from like to unlike: the same one for another
//! system or another release of its language (`python2.7-foo` for `python3.6-foo`), those whose names begin alike
//! (`perl5.24.3-…`, `gst-plugins-…`), all fetches or all builds.
//!
//! What is kept of each is the mean of logarithms, in which the last observations count most: a quarter less or four times more are
//! the same distance there, and a build that hung for hours shifts the estimate by a bounded factor.
//!
//! ```
//! use std::time::Duration;
//! use gradient_scheduler::{DurationHistory, Package, UNKNOWN_DURATION};
//!
//! let mut history = DurationHistory::default();
//! let package = |derivation| Package::of_derivation(derivation, "x86_64-linux", false);
//! assert_eq!(history.expect(package("hello-2.12")), UNKNOWN_DURATION);
//!
//! history.record(package("firefox-56.0"), Duration::from_secs(3000));
//! history.record(package("python2.7-flask-0.12"), Duration::from_secs(4));
//! assert_eq!(history.expect(package("firefox-57.0")).as_secs(), 3000);
//! assert_eq!(history.expect(package("python3.6-flask-0.12")).as_secs(), 4);
//! ```

mod package;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

pub use self::package::Package;

/// What a build is expected to take of which nothing is known: about the mean of large package sets.
pub const UNKNOWN_DURATION: Duration = Duration::from_secs(13);

/// As many averages are kept: beyond that nothing new is learnt, but for what is known already. Some twenty bytes each.
const AVERAGES_MAX: usize = 1 << 20;

/// How many earlier observations count as much as the newest.
const PACKAGE_MEMORY: u16 = 3;
/// How many packages count as much as the newest, where several are taken together.
const GROUP_MEMORY: u16 = 1000;

/// An observation further from the mean than this, as a logarithm, counts as this far: a factor of eight.
const DISTANCE_MAX: f32 = 2.08;
/// So many packages that say nothing of their own does a group's average begin with: it is drawn to the larger group's.
const DOUBT: f32 = 2.0;
/// The shortest time that is told from none, in seconds.
const SHORTEST: f32 = 0.001;

/// What is kept of one package: all that has to be stored to know as much after a restart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DurationSummary {
    /// The mean of the logarithms of seconds.
    pub log_mean: f32,
    /// How far they are from it.
    pub log_variance: f32,
    /// How many builds say so, up to the number that counts.
    pub observations: u16,
}

/// What builds took, by package.
#[derive(Debug, Default, Clone)]
pub struct DurationHistory {
    averages: HashMap<u64, Average>,
}

impl DurationHistory {
    /// Learns that a build of the package took so long.
    pub fn record(&mut self, package: Package<'_>, took: Duration) {
        let observed = took.as_secs_f32().max(SHORTEST).ln();
        let is_new = self.learn(package.itself(), observed, PACKAGE_MEMORY);
        self.learn_of_others(package, observed, is_new);
    }

    /// What is known of exactly this package.
    pub fn summary(&self, package: Package<'_>) -> Option<DurationSummary> {
        let known = self.averages.get(&package.itself())?;
        Some(DurationSummary { log_mean: known.mean, log_variance: known.variance, observations: known.count })
    }

    /// Knows again what [`summary`](Self::summary) gave, in the order in which it was learnt. No other than finite numbers.
    pub fn restore(&mut self, package: Package<'_>, summary: DurationSummary) {
        let DurationSummary { log_mean, log_variance, observations } = summary;
        if !log_mean.is_finite() || !log_variance.is_finite() || self.averages.len() >= AVERAGES_MAX {
            return;
        }
        let known = Average { mean: log_mean, variance: log_variance, count: observations.clamp(1, PACKAGE_MEMORY) };
        let is_new = self.averages.insert(package.itself(), known).is_none();
        self.learn_of_others(package, log_mean, is_new);
    }

    /// How long a build of the package is expected to run.
    pub fn expect(&self, package: Package<'_>) -> Duration {
        let own = self.averages.get(&package.itself()).or_else(|| self.averages.get(&package.elsewhere()));
        let logarithm = own.map(|average| average.mean).or_else(|| self.expect_of_groups(package));
        logarithm.map_or(UNKNOWN_DURATION, |logarithm| {
            Duration::try_from_secs_f32(logarithm.exp()).unwrap_or(Duration::from_hours(24 * 49))
        })
    }

    /// How many averages are in memory.
    pub fn len(&self) -> usize {
        self.averages.len()
    }

    /// Whether nothing was learnt yet.
    pub fn is_empty(&self) -> bool {
        self.averages.is_empty()
    }

    /// What one package says of those that are like it.
    fn learn_of_others(&mut self, package: Package<'_>, observed: f32, is_new: bool) {
        self.learn(package.elsewhere(), observed, PACKAGE_MEMORY);
        // Each package counts once in its groups, however often it is built.
        if is_new {
            for group in package.groups() {
                self.learn(group, observed, GROUP_MEMORY);
            }
        }
    }

    /// From the largest group to the smallest, each as far from the one before as its number of packages justifies. Of unknown
    /// packages the mean is expected and not the median, which the mean of logarithms is: the few long ones matter.
    fn expect_of_groups(&self, package: Package<'_>) -> Option<f32> {
        let mut known = package.groups().into_iter().filter_map(|group| self.averages.get(&group));
        let largest = *known.next()?;
        let (mean, variance) = known.fold((largest.mean, largest.variance), |(mean, variance), group| {
            let weight = f32::from(group.count) / (f32::from(group.count) + DOUBT);
            let towards = |from: f32, to: f32| from + (to - from) * weight;
            (towards(mean, group.mean), towards(variance, group.variance))
        });
        Some(mean + variance / 2.0)
    }

    /// Whether it is the first observation under this key.
    fn learn(&mut self, key: u64, observed: f32, memory: u16) -> bool {
        let is_full = self.averages.len() >= AVERAGES_MAX;
        match self.averages.entry(key) {
            Entry::Occupied(mut average) => average.get_mut().add(observed, memory),
            Entry::Vacant(vacant) => {
                if !is_full {
                    vacant.insert(Average { mean: observed, variance: 0.0, count: 1 });
                }
                return true;
            }
        }
        false
    }
}

/// The mean of logarithms of seconds, and how far they are from it.
#[derive(Debug, Clone, Copy)]
struct Average {
    mean: f32,
    variance: f32,
    /// Observations, up to the number that counts.
    count: u16,
}

impl Average {
    fn add(&mut self, observed: f32, memory: u16) {
        let distance = (observed - self.mean).clamp(-DISTANCE_MAX, DISTANCE_MAX);
        let share = 1.0 / (f32::from(self.count) + 1.0);
        self.mean += distance * share;
        self.variance += (distance * distance * (1.0 - share) - self.variance) * share;
        self.count = (self.count + 1).min(memory);
    }
}
