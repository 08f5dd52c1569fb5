//! What happens: a graph, how long its builds take and are thought to take, when they are wanted, and the machines.
//!
//! Durations are lognormal and belong to the package's name: builds have a median of 5 s, fetches of 2.5 s, with a deviation of the
//! logarithm of 1.5, which makes means of 15 s and 8 s and a few builds of an hour. 35 % of the variance belongs to the set that the
//! name begins with. Earlier builds of the same package, from which the estimates come, took as long with a deviation of
//! [`Conditions::noise`].

use std::collections::BTreeMap;
use std::time::Duration;

use gradient_scheduler::{DurationHistory, Package};

use super::draws::Draws;
use super::fleet::Machines;
use super::shape::{Need, Shape};

/// No build takes longer.
const LONGEST: f64 = 6.0 * 3600.0;
const DEVIATION: f64 = 1.5;
/// The part of the variance that a set has in common.
const IN_COMMON: f64 = 0.35;
/// Earlier builds of each package.
const OBSERVED: usize = 3;
/// What builds with rare features take compared to others: they need them since they are large.
const RARE_FACTOR: f64 = 4.0;
/// The median of what a build's outputs have in bytes, and the deviation of the logarithm: a mean of 3.8 MB.
const SIZE: f64 = 500_000.0;
const SIZE_DEVIATION: f64 = 2.0;

/// All that a simulation needs; times are in milliseconds.
#[derive(Debug)]
pub(super) struct Trace<'a> {
    pub(super) shape: &'a Shape,
    /// How long each build takes, when it succeeds.
    pub(super) took: Vec<u64>,
    /// The bytes of each build's outputs.
    pub(super) sizes: Vec<u64>,
    /// How long attempts take that fail before.
    pub(super) failures: BTreeMap<usize, Vec<u64>>,
    pub(super) evaluations: Vec<Evaluation>,
    pub(super) fleet: Vec<Machines>,
}

/// Builds that are wanted from some time on.
#[derive(Debug)]
pub(super) struct Evaluation {
    pub(super) at: u64,
    /// Whose it is, and its builds.
    pub(super) organization: u128,
    /// Dependencies first.
    pub(super) builds: Vec<u32>,
}

/// How a graph is built.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conditions {
    pub(super) seed: u64,
    /// How many evaluations want the builds.
    pub(super) evaluations: usize,
    /// Of a thousand builds, how many have attempts that fail and are worth a second one.
    pub(super) failing: usize,
    /// How far earlier builds of a package are from this one: the deviation of the logarithm.
    pub(super) noise: f64,
}

impl<'a> Trace<'a> {
    pub(super) fn new(shape: &'a Shape, conditions: Conditions) -> Self {
        let mut draws = Draws::new(conditions.seed);
        let took: Vec<u64> = (0..shape.builds.len()).map(|at| took(shape, at, conditions.seed)).collect();
        let mut failures = BTreeMap::new();
        if conditions.failing > 0 {
            for (at, &took) in took.iter().enumerate() {
                let count = (0..3).take_while(|_| draws.below(1000) < conditions.failing).count();
                if count > 0 {
                    failures.insert(at, (0..count).map(|_| scale(took, draws.part())).collect());
                }
            }
        }
        let evaluations = shape.evaluations(conditions.evaluations, &mut draws);
        let evaluations = evaluations.into_iter().map(|builds| Evaluation { at: 0, organization: 0, builds }).collect();
        let mut draws = Draws::new(conditions.seed ^ 2);
        let sizes = took.iter().map(|_| bytes(SIZE * (SIZE_DEVIATION * draws.normal()).exp())).collect();
        Self { shape, took, sizes, failures, evaluations, fleet: Vec::new() }
    }

    /// Lets the evaluations come one after the other, evenly within so many milliseconds.
    pub(super) fn spread(&mut self, within: u64) {
        let count = u64::try_from(self.evaluations.len()).unwrap_or(u64::MAX).max(1);
        for (at, evaluation) in (0..).zip(&mut self.evaluations) {
            evaluation.at = within * at / count;
        }
    }

    /// What the production estimates say of each build when a part of the packages was built before.
    pub(super) fn estimates(&self, conditions: Conditions, known: f64) -> Vec<Duration> {
        let mut history = DurationHistory::default();
        for (at, build) in self.shape.builds.iter().enumerate() {
            let package = self.package(at);
            let mut draws = Draws::of(conditions.seed ^ 1, &[package.name(), if build.fixed_output { "fetch" } else { "build" }]);
            if draws.part() < known {
                for _ in 0..OBSERVED {
                    history
                        .record(package, Duration::from_millis(scale(self.took[at], (conditions.noise * draws.normal()).exp())));
                }
            }
        }
        (0..self.shape.builds.len()).map(|at| history.expect(self.package(at))).collect()
    }

    fn package(&self, at: usize) -> Package<'a> {
        let (build, need): (_, &Need) = (&self.shape.builds[at], self.shape.need(at));
        Package::of_derivation(&build.name, &need.system, build.fixed_output)
    }

    /// All that a build takes on a slot, failed attempts and all.
    pub(super) fn work(&self, build: usize) -> u64 {
        self.took[build] + self.failures.get(&build).map_or(0, |attempts| attempts.iter().sum())
    }

    /// From when it begins to when it is done: with the waits after failed attempts.
    pub(super) fn span(&self, build: usize) -> u64 {
        let attempts = self.failures.get(&build).map_or(0, Vec::len);
        self.work(build) + (1..=attempts).map(back_off).sum::<u64>()
    }

    /// From when on each build is wanted.
    pub(super) fn wanted_at(&self) -> Vec<u64> {
        let mut at = vec![u64::MAX; self.took.len()];
        for evaluation in &self.evaluations {
            for &build in &evaluation.builds {
                let at = &mut at[build as usize];
                *at = evaluation.at.min(*at);
            }
        }
        at
    }

    pub(super) fn slots(&self) -> u64 {
        self.fleet.iter().map(Machines::total).sum()
    }
}

/// The wait after failed attempt number `attempt`, as the production settings have it by default.
pub(super) fn back_off(attempt: usize) -> u64 {
    (2000 << attempt.saturating_sub(1).min(20)).min(120_000)
}

fn took(shape: &Shape, at: usize, seed: u64) -> u64 {
    let build = &shape.builds[at];
    let need = shape.need(at);
    let package = Package::of_derivation(&build.name, &need.system, build.fixed_output);
    let kind = if build.fixed_output { "fetch" } else { "build" };
    let family =
        package.name().split(['-', '.']).next().unwrap_or_default().trim_end_matches(|letter: char| letter.is_ascii_digit());
    let of_set = Draws::of(seed, &["set", kind, family]).normal() * IN_COMMON.sqrt();
    let own = Draws::of(seed, &["package", kind, package.name()]).normal() * (1.0 - IN_COMMON).sqrt();
    let median = if build.fixed_output { 2.5 } else { 5.0 };
    let rare = if need.features.is_empty() { 1.0 } else { RARE_FACTOR };
    let seconds = (median * rare * (DEVIATION * (of_set + own)).exp()).min(LONGEST);
    scale(1000, seconds).max(1)
}

/// A gigabyte at most.
fn bytes(drawn: f64) -> u64 {
    // In thousandths of a second, as no number with a point becomes one without elsewhere.
    scale(1000, drawn.min(1e9) / 1000.0)
}

/// So many times as long.
fn scale(millis: u64, factor: f64) -> u64 {
    u64::try_from(Duration::from_millis(millis).mul_f64(factor).as_millis()).unwrap_or(u64::MAX)
}
