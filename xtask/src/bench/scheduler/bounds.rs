//! What no schedule can be faster than.
//!
//! The first bound is the critical path: the longest way through the graph, from when a build is wanted. The second is Fernandez and
//! Bussell's: if all were done by the end of the critical path, some of the work would have to be done within each interval; what
//! exceeds the slots comes on top. It is taken for all machines, and for each set of machines that some builds are bound to. The
//! interval from the beginning to the end gives the total work by the slots.

use super::trace::Trace;
use crate::bench::figures::number;

/// Between so many times are the intervals.
const TIMES: usize = 24;

/// The bounds, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) critical_path: f64,
    /// The best that is known.
    pub(super) best: f64,
}

/// When a build can be worked on at the earliest, and when it has to be done at the latest.
struct Window {
    begin: u64,
    end: u64,
    work: u64,
    /// Whether it comes in pieces, between which it waits.
    split: bool,
    need: usize,
}

impl Window {
    /// The work that falls between the times however it is placed.
    fn within(&self, from: u64, to: u64) -> u64 {
        let before = from.saturating_sub(self.begin).min(self.work);
        let after = self.end.saturating_sub(to).min(self.work);
        let left = self.work - before;
        let right = self.work - after;
        if self.split { left.saturating_sub(after) } else { left.min(right).min(to - from) }
    }
}

pub(super) fn of(trace: &Trace<'_>) -> Bounds {
    let (windows, critical_path) = windows(trace);
    let mut times: Vec<u64> = Vec::new();
    let mut marks: Vec<u64> = windows.iter().flat_map(|window| [window.begin, window.end]).collect();
    marks.sort_unstable();
    times.extend((0..TIMES).filter_map(|part| marks.get(marks.len() * part / TIMES)));
    times.extend([0, critical_path]);
    times.sort_unstable();
    times.dedup();
    let mut best = number(critical_path);
    for need in 0..=trace.shape.needs.len() {
        let (slots, bound) = bound_to(trace, need);
        let windows: Vec<&Window> = windows.iter().filter(|window| bound[window.need]).collect();
        if slots == 0 || windows.is_empty() {
            continue;
        }
        for (at, &from) in times.iter().enumerate() {
            for &to in &times[at + 1..] {
                let work: u64 = windows.iter().map(|window| window.within(from, to)).sum();
                best = best.max(number(critical_path - (to - from)) + number(work) / number(slots));
            }
        }
    }
    Bounds { critical_path: number(critical_path), best }
}

/// The slots that fit a need, or all, and which needs have no others.
fn bound_to(trace: &Trace<'_>, need: usize) -> (u64, Vec<bool>) {
    let fits = |machines: &&super::fleet::Machines| trace.shape.needs.get(need).is_none_or(|need| machines.fits(need));
    let slots = trace.fleet.iter().filter(fits).map(super::fleet::Machines::total).sum();
    let bound = trace
        .shape
        .needs
        .iter()
        .map(|other| trace.fleet.iter().filter(|machines| machines.fits(other)).all(|machines| fits(&machines)));
    (slots, bound.collect())
}

fn windows(trace: &Trace<'_>) -> (Vec<Window>, u64) {
    let mut windows: Vec<Window> = Vec::with_capacity(trace.took.len());
    let mut path = 0;
    for (at, wanted) in trace.wanted_at().into_iter().enumerate() {
        let dependencies = &trace.shape.builds[at].dependencies;
        let ready = dependencies.iter().map(|&dependency| windows[dependency as usize].end).max().unwrap_or(0);
        let begin = ready.max(wanted);
        let end = begin + trace.span(at);
        path = path.max(end);
        windows.push(Window {
            begin,
            end,
            work: trace.work(at),
            split: trace.failures.contains_key(&at),
            need: trace.shape.builds[at].need,
        });
    }
    // From the end: how late each may be done.
    let length: Vec<u64> = windows.iter().map(|window| window.end - window.begin).collect();
    for at in (0..windows.len()).rev() {
        let dependents = trace.shape.dependents[at].iter().map(|&dependent| dependent as usize);
        windows[at].end = dependents.map(|dependent| windows[dependent].end - length[dependent]).min().unwrap_or(path);
    }
    (windows, path)
}
