//! The best schedule of a small graph on slots that are all alike, by branch and bound.

use super::trace::Trace;

/// After so many steps it gives up.
const STEPS_MAX: u32 = 3_000_000;

struct Search<'a> {
    trace: &'a Trace<'a>,
    /// The longest way from each build to the end.
    tails: Vec<u64>,
    best: u64,
    steps: u32,
}

/// When all can be done at the earliest; nothing when that takes too long to find out. `known` is when some schedule is done.
pub(super) fn makespan(trace: &Trace<'_>, known: u64) -> Option<u64> {
    let mut tails = vec![0; trace.took.len()];
    for at in (0..tails.len()).rev() {
        tails[at] = trace.took[at] + trace.shape.dependents[at].iter().map(|&later| tails[later as usize]).max().unwrap_or(0);
    }
    let slots = vec![0; usize::try_from(trace.slots()).ok()?];
    let mut search = Search { trace, tails, best: known, steps: 0 };
    search.branch(&mut vec![None; trace.took.len()], &slots, 0);
    (search.steps < STEPS_MAX).then_some(search.best)
}

impl Search<'_> {
    /// Builds begin in the order of their times, so each is tried on the slot that is free first, not before the last one.
    fn branch(&mut self, ends: &mut Vec<Option<u64>>, slots: &[u64], since: u64) {
        self.steps += 1;
        if self.steps >= STEPS_MAX {
            return;
        }
        let free = slots.iter().copied().min().unwrap_or(0).max(since);
        let mut begins: Vec<(u64, usize)> =
            (0..ends.len()).filter_map(|at| Some((self.begin(ends, at)?.max(free), at))).collect();
        if begins.is_empty() {
            self.best = self.best.min(ends.iter().flatten().copied().max().unwrap_or(0));
            return;
        }
        let left: u64 = (0..ends.len()).filter(|&at| ends[at].is_none()).map(|at| self.trace.took[at]).sum();
        let taken: u64 = slots.iter().map(|&slot| slot.max(free)).sum();
        let count = u64::try_from(slots.len()).unwrap_or(u64::MAX);
        let by_work = (taken + left).div_ceil(count);
        let by_path = begins.iter().map(|&(begin, at)| begin + self.tails[at]).max().unwrap_or(0);
        if by_work.max(by_path) >= self.best {
            return;
        }
        begins.sort_by_key(|&(begin, at)| (begin, std::cmp::Reverse(self.tails[at])));
        for (begin, at) in begins {
            let mut slots = slots.to_vec();
            if let Some(slot) = slots.iter_mut().min() {
                *slot = begin + self.trace.took[at];
            }
            ends[at] = Some(begin + self.trace.took[at]);
            self.branch(ends, &slots, begin);
            ends[at] = None;
        }
    }

    /// When a build that has not begun can, if its dependencies have.
    fn begin(&self, ends: &[Option<u64>], at: usize) -> Option<u64> {
        if ends[at].is_some() {
            return None;
        }
        let mut ready = 0;
        for &dependency in &self.trace.shape.builds[at].dependencies {
            ready = ready.max(ends[dependency as usize]?);
        }
        Some(ready)
    }
}
