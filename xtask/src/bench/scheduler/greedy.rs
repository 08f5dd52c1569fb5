//! A plain list scheduler, for the policies that the production one is compared with: whenever a slot is free, the first ready build
//! of the list that fits.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::trace::{Trace, back_off};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Comes(usize),
    Returns(usize),
    Ends { build: usize, group: usize },
}

struct Simulation<'a> {
    trace: &'a Trace<'a>,
    order: &'a [u64],
    /// Ready builds by need, first the one with the greatest number, of several the oldest.
    ready: Vec<BTreeSet<(Reverse<u64>, usize)>>,
    free: Vec<u64>,
    /// Groups that fit each need, those that fit least else first.
    groups: Vec<Vec<usize>>,
    missing: Vec<usize>,
    wanted: Vec<bool>,
    attempts: Vec<usize>,
    happenings: BinaryHeap<Reverse<(u64, Happening)>>,
}

/// When all is done, in milliseconds; builds with greater numbers go first.
pub(super) fn makespan(trace: &Trace<'_>, order: &[u64]) -> u64 {
    let needs = &trace.shape.needs;
    let versatility = |group: usize| needs.iter().filter(|need| trace.fleet[group].fits(need)).count();
    let groups_of = |need| {
        let mut groups: Vec<usize> = (0..trace.fleet.len()).filter(|&group| trace.fleet[group].fits(need)).collect();
        groups.sort_by_key(|&group| versatility(group));
        groups
    };
    let mut simulation = Simulation {
        trace,
        order,
        ready: vec![BTreeSet::new(); needs.len()],
        free: trace.fleet.iter().map(super::fleet::Machines::total).collect(),
        groups: needs.iter().map(groups_of).collect(),
        missing: trace.shape.builds.iter().map(|build| build.dependencies.len()).collect(),
        wanted: vec![false; trace.took.len()],
        attempts: vec![0; trace.took.len()],
        happenings: BinaryHeap::new(),
    };
    let comes = trace.evaluations.iter().enumerate().map(|(at, evaluation)| Reverse((evaluation.at, Happening::Comes(at))));
    simulation.happenings.extend(comes);
    simulation.go_on()
}

impl Simulation<'_> {
    fn go_on(&mut self) -> u64 {
        let mut end = 0;
        while let Some(&Reverse((now, _))) = self.happenings.peek() {
            while let Some(&Reverse((at, happening))) = self.happenings.peek()
                && at == now
            {
                self.happenings.pop();
                if matches!(happening, Happening::Ends { .. }) {
                    end = now;
                }
                self.happen(happening, now);
            }
            self.dispatch(now);
        }
        end
    }

    fn happen(&mut self, happening: Happening, now: u64) {
        match happening {
            Happening::Comes(at) => {
                for &build in &self.trace.evaluations[at].builds {
                    let build = build as usize;
                    if !std::mem::replace(&mut self.wanted[build], true) && self.missing[build] == 0 {
                        self.queue(build);
                    }
                }
            }
            Happening::Returns(build) => self.queue(build),
            Happening::Ends { build, group } => {
                self.free[group] += 1;
                let attempt = self.attempts[build];
                if attempt <= self.trace.failures.get(&build).map_or(0, Vec::len) {
                    self.happenings.push(Reverse((now + back_off(attempt), Happening::Returns(build))));
                    return;
                }
                for &dependent in &self.trace.shape.dependents[build] {
                    let dependent = dependent as usize;
                    self.missing[dependent] -= 1;
                    if self.missing[dependent] == 0 && self.wanted[dependent] {
                        self.queue(dependent);
                    }
                }
            }
        }
    }

    fn queue(&mut self, build: usize) {
        self.ready[self.trace.shape.builds[build].need].insert((Reverse(self.order[build]), build));
    }

    fn dispatch(&mut self, now: u64) {
        loop {
            let heads = self.ready.iter().enumerate().filter_map(|(need, ready)| {
                let group = self.groups[need].iter().copied().find(|&group| self.free[group] > 0)?;
                Some((*ready.first()?, need, group))
            });
            let Some((head, need, group)) = heads.min() else { return };
            self.ready[need].remove(&head);
            let (_, build) = head;
            let failing = self.trace.failures.get(&build).and_then(|attempts| attempts.get(self.attempts[build])).copied();
            self.attempts[build] += 1;
            self.free[group] -= 1;
            let end = now + failing.unwrap_or(self.trace.took[build]);
            self.happenings.push(Reverse((end, Happening::Ends { build, group })));
        }
    }
}
