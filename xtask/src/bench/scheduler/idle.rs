//! Watches for slots that are idle while something that fits could run.

use super::trace::Trace;
use crate::bench::figures::number;

/// The slots and the ready builds at one time, and what was until then.
#[derive(Debug)]
pub(super) struct Idle<'a> {
    trace: &'a Trace<'a>,
    now: u64,
    /// Free slots, by group of machines.
    free: Vec<u64>,
    /// Ready builds, by what they need.
    ready: Vec<u64>,
    fits: Vec<Vec<bool>>,
    wanted: Vec<bool>,
    missing: Vec<usize>,
    running: u64,
    busy: u64,
    wasted: u64,
}

impl<'a> Idle<'a> {
    pub(super) fn new(trace: &'a Trace<'a>) -> Self {
        let fits = trace.fleet.iter().map(|machines| trace.shape.needs.iter().map(|need| machines.fits(need)).collect());
        Self {
            trace,
            now: 0,
            free: trace.fleet.iter().map(super::fleet::Machines::total).collect(),
            ready: vec![0; trace.shape.needs.len()],
            fits: fits.collect(),
            wanted: vec![false; trace.took.len()],
            missing: trace.shape.builds.iter().map(|build| build.dependencies.len()).collect(),
            running: 0,
            busy: 0,
            wasted: 0,
        }
    }

    /// Until then nothing changes.
    pub(super) fn pass_to(&mut self, at: u64) {
        let passed = at - self.now;
        let idle = |(free, fits): (&u64, &Vec<bool>)| {
            let ready: u64 = self.ready.iter().zip(fits).filter(|(_, fits)| **fits).map(|(ready, _)| ready).sum();
            ready.min(*free)
        };
        let wasted: u64 = self.free.iter().zip(&self.fits).map(idle).sum();
        self.wasted += wasted * passed;
        self.busy += self.running * passed;
        self.now = at;
    }

    pub(super) fn want(&mut self, builds: &[usize]) {
        for &build in builds {
            if !std::mem::replace(&mut self.wanted[build], true) && self.missing[build] == 0 {
                self.ready[self.trace.shape.builds[build].need] += 1;
            }
        }
    }

    /// A build has a slot. One that failed before was not counted while it waited for its next attempt.
    pub(super) fn begin(&mut self, build: usize, group: usize, again: bool) {
        if !again {
            self.ready[self.trace.shape.builds[build].need] -= 1;
        }
        self.free[group] -= 1;
        self.running += 1;
    }

    pub(super) fn free(&mut self, group: usize) {
        self.free[group] += 1;
        self.running -= 1;
    }

    pub(super) fn complete(&mut self, build: usize) {
        for &dependent in &self.trace.shape.dependents[build] {
            let dependent = dependent as usize;
            self.missing[dependent] -= 1;
            if self.missing[dependent] == 0 && self.wanted[dependent] {
                self.ready[self.trace.shape.builds[dependent].need] += 1;
            }
        }
    }

    /// The part of the time of slots that could be used in which they were.
    pub(super) fn conservation(&self) -> f64 {
        if self.busy == 0 { 1.0 } else { number(self.busy) / number(self.busy + self.wasted) }
    }
}
