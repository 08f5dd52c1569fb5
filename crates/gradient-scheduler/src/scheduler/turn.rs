//! When a ready build has its turn: what comes before it, and how long the workers are busy with that.
//!
//! Both are what follows from what is known now. What becomes ready or comes meanwhile may go first, and then it takes longer; what
//! comes before it may also go to workers that cannot do this build, and then it takes less.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    ops::Bound,
};

use gradient_domain::OrganizationId;

use super::Scheduler;
use crate::{
    Tick, UNKNOWN_DURATION,
    class::Class,
    node::{Millis, NodeSlot, Urgency},
};

/// Up to which place in the queue it is counted.
const POSITION_MAX: usize = 1000;

/// Builds take half as long as expected, as long, or twice as long, in percent: nearly all are between the first and the last.
const AS_EXPECTED: u64 = 100;
const SOON: u64 = AS_EXPECTED / 2;
const LATE: u64 = AS_EXPECTED * 2;

/// A build that runs for longer than is expected of it goes on for at least so much of the time that it has run, as far as can be told.
const OVERDUE: u64 = 8;

/// How far a ready build is from its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) position: u32,
    pub(super) wait: Option<Wait>,
}

/// Seconds until it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) expected: u64,
    pub(super) least: u64,
    pub(super) most: u64,
}

impl Scheduler {
    pub(super) fn turn(&self, slot: NodeSlot, now: Tick) -> Turn {
        let ahead = self.ahead(slot);
        let class = &self.classes[self.nodes[slot].class];
        let wait = || {
            let [expected, least, most] = [AS_EXPECTED, SOON, LATE].map(|percent| self.wait(class, &ahead, now, percent));
            Some(Wait { expected: expected?, least: least?, most: most? })
        };
        Turn { position: u32::try_from(ahead.len()).unwrap_or(u32::MAX), wait: wait() }
    }

    /// The ready jobs that come before this one, were nothing added: those of the same organization by priority and pressure, of each
    /// other one those of a higher priority, and as many of the same as bring it to the same share of the workers.
    fn ahead(&self, slot: NodeSlot) -> Vec<NodeSlot> {
        let node = &self.nodes[slot];
        let (own, urgency) = (&self.classes[node.class], node.urgency(slot));
        let pressure = own.pressure(&urgency);
        let first_of_priority = Urgency { rank: Reverse(Millis::MAX), sequence: 0, ..urgency };
        let last_of_priority = Urgency { rank: Reverse(Millis::default()), sequence: u64::MAX, ..urgency };
        let mut ahead = Vec::new();
        let mut others: BTreeMap<OrganizationId, Vec<Urgency>> = BTreeMap::new();
        for (at, class) in self.classes.iter().filter(|(_, class)| compete(own, class)) {
            let until = |end: Bound<Urgency>| class.queue.range((Bound::Unbounded, end)).take(POSITION_MAX);
            if class.requirement.organization != own.requirement.organization {
                ahead.extend(until(Bound::Excluded(first_of_priority)));
                let same = class.queue.range(first_of_priority..=last_of_priority).take(POSITION_MAX);
                others.entry(class.requirement.organization).or_default().extend(same);
            } else if at == node.class {
                ahead.extend(until(Bound::Excluded(urgency)));
            } else if class.load() > pressure {
                ahead.extend(until(Bound::Included(last_of_priority)));
            } else {
                ahead.extend(until(Bound::Excluded(Urgency { rank: Reverse(pressure), ..urgency })));
            }
        }
        let of_own = ahead.len();
        for (organization, mut jobs) in others {
            jobs.sort_unstable();
            jobs.truncate(self.turns_before(organization, own.requirement.organization, of_own));
            ahead.extend(jobs);
        }
        ahead.sort_unstable();
        ahead.truncate(POSITION_MAX);
        ahead.into_iter().map(|urgency| urgency.node).collect()
    }

    /// How many jobs the other organization gets before this one has got so many and is next.
    fn turns_before(&self, other: OrganizationId, own: OrganizationId, jobs: usize) -> usize {
        let load = |id| self.organizations.get(&id).map_or((0, 100), |organization| (organization.running, organization.weight));
        let ((running, weight), (others_running, others_weight)) = (load(own), load(other));
        let reached = u64::from(running).saturating_add(u64::try_from(jobs).unwrap_or(u64::MAX));
        let fair = reached.saturating_mul(u64::from(others_weight)).div_ceil(u64::from(weight.max(1)));
        usize::try_from(fair.saturating_sub(u64::from(others_running))).unwrap_or(usize::MAX)
    }

    /// How many seconds it takes until the class's workers have begun all of that and have a slot free again. `None` when it is not
    /// known what one of them takes.
    fn wait(&self, class: &Class, ahead: &[NodeSlot], now: Tick, percent: u64) -> Option<u64> {
        let mut free = BinaryHeap::new();
        for worker in class.workers.iter().filter_map(|id| self.workers.get(id)) {
            for (_, holding) in worker.jobs.iter().filter(|(job, _)| job.kind() == class.requirement.need.kind()) {
                if holding.delivering {
                    continue;
                }
                let expected = self.expected(holding.node, percent)?;
                let ran = holding.started_at.map_or(0, |started| millis(now, started));
                free.push(Reverse(expected.saturating_sub(ran).max(ran * percent / AS_EXPECTED / OVERDUE)));
            }
            free.extend(worker.stopping.values().map(|&until| Reverse(millis(until, now))));
        }
        for &job in ahead {
            let Reverse(at) = free.pop()?;
            free.push(Reverse(at.saturating_add(self.expected(job, percent)?)));
        }
        free.pop().map(|Reverse(at)| at.div_ceil(1000))
    }

    /// In milliseconds.
    fn expected(&self, slot: NodeSlot, percent: u64) -> Option<u64> {
        let expected = self.nodes[slot].expected;
        (expected != Millis::from(UNKNOWN_DURATION)).then(|| u64::from(expected.get()) * percent / AS_EXPECTED)
    }
}

fn millis(later: Tick, earlier: Tick) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}

/// Whether the classes have a worker in common, and its slots.
fn compete(a: &Class, b: &Class) -> bool {
    let (few, many) = if a.workers.len() <= b.workers.len() { (a, b) } else { (b, a) };
    a.requirement.need.kind() == b.requirement.need.kind() && few.workers.iter().any(|id| many.workers.contains(id))
}
