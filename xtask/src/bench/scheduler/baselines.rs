//! Policies to compare with.

use std::time::Duration;

use super::draws::Draws;
use super::greedy;
use super::trace::Trace;

/// A way to order builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Baseline {
    Fifo,
    Random,
    MostDependents,
    Depth,
    LongestFirst,
    Heft,
    Clairvoyant,
}

impl Baseline {
    pub(super) const ALL: [Self; 7] =
        [Self::Fifo, Self::Random, Self::MostDependents, Self::Depth, Self::LongestFirst, Self::Heft, Self::Clairvoyant];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fifo => "first in, first out",
            Self::Random => "random",
            Self::MostDependents => "most dependents",
            Self::Depth => "depth",
            Self::LongestFirst => "longest first",
            Self::Heft => "HEFT",
            Self::Clairvoyant => "clairvoyant critical path",
        }
    }

    /// When all is done, in milliseconds, if the builds are expected to take this long.
    pub(super) fn makespan(self, trace: &Trace<'_>, expected: &[Duration], seed: u64) -> u64 {
        let count = trace.took.len();
        let expected: Vec<u64> = expected.iter().map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).collect();
        let order: Vec<u64> = match self {
            Self::Fifo => vec![0; count],
            Self::Random => {
                let mut draws = Draws::new(seed);
                (0..count).map(|_| u64::try_from(draws.below(usize::MAX)).unwrap_or(u64::MAX)).collect()
            }
            Self::MostDependents => {
                trace.shape.dependents.iter().map(|all| u64::try_from(all.len()).unwrap_or(u64::MAX)).collect()
            }
            Self::Depth => ranks(trace, &vec![1; count]),
            Self::LongestFirst => expected,
            Self::Heft => return heft(trace, &expected),
            Self::Clairvoyant => ranks(trace, &(0..count).map(|build| trace.work(build)).collect::<Vec<_>>()),
        };
        greedy::makespan(trace, &order)
    }
}

/// The longest way from each build to the end.
fn ranks(trace: &Trace<'_>, times: &[u64]) -> Vec<u64> {
    let mut ranks = vec![0; times.len()];
    for at in (0..times.len()).rev() {
        ranks[at] = times[at] + trace.shape.dependents[at].iter().map(|&later| ranks[later as usize]).max().unwrap_or(0);
    }
    ranks
}

/// Heterogeneous earliest finish time: in the order of ranks each build gets the slot on which it is expected to end first, for good.
/// Without insertion into gaps, and what fails keeps its slot until it is tried again.
fn heft(trace: &Trace<'_>, expected: &[u64]) -> u64 {
    let ranks = ranks(trace, expected);
    let wanted = trace.wanted_at();
    let mut order: Vec<usize> = (0..ranks.len()).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(ranks[at]), at));
    // For each group: slots as (expected to be free, free in truth).
    let mut slots: Vec<Vec<(u64, u64)>> =
        trace.fleet.iter().map(|machines| (0..machines.total()).map(|_| (0, 0)).collect()).collect();
    let mut ends = vec![(0, 0); ranks.len()];
    let mut makespan = 0;
    for build in order {
        let dependencies = || trace.shape.builds[build].dependencies.iter().map(|&dependency| ends[dependency as usize]);
        let planned = dependencies().map(|(planned, _)| planned).max().unwrap_or(0).max(wanted[build]);
        let ready = dependencies().map(|(_, real)| real).max().unwrap_or(0).max(wanted[build]);
        let fitting = (0..slots.len()).filter(|&group| trace.fleet[group].fits(trace.shape.need(build)));
        let all = fitting.flat_map(|group| slots[group].iter().enumerate().map(move |(at, slot)| (group, at, slot.0)));
        // Of the slots that are free in time the one that became free last, so that the others stay free for longer.
        let best = all.min_by_key(|&(_, _, free)| (free.max(planned), std::cmp::Reverse(free)));
        let Some((group, at, free)) = best else { continue };
        let begin = slots[group][at].1.max(ready);
        ends[build] = (free.max(planned) + expected[build], begin + trace.span(build));
        slots[group][at] = ends[build];
        makespan = makespan.max(ends[build].1);
    }
    makespan
}
