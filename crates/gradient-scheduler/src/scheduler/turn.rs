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
    Estimate, Tick, UNKNOWN_DURATION,
    class::Class,
    holdings::Holding,
    node::{Millis, NodeSlot, Urgency},
};

/// Up to which place in the queue it is counted.
const POSITION_MAX: usize = 1000;

/// Builds take half as long as expected, as long, or twice as long, in percent: nearly all are between the first and the last.
pub(super) const AS_EXPECTED: u64 = 100;
pub(super) const SOON: u64 = AS_EXPECTED / 2;
pub(super) const LATE: u64 = AS_EXPECTED * 2;

/// How far a ready build is from its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) position: u32,
    /// Whether only others come before it, as its organization has had more than they.
    pub(super) for_share: bool,
    /// Until it begins.
    pub(super) wait: Option<Estimate>,
}

impl Scheduler {
    pub(super) fn turn(&self, slot: NodeSlot, now: Tick) -> Turn {
        let (ahead, for_share) = self.ahead(slot, now);
        let class = &self.classes[self.nodes[slot].class];
        let wait = || {
            let [expected, least, most] = [AS_EXPECTED, SOON, LATE].map(|percent| self.wait(class, &ahead, now, percent));
            Some(Estimate { expected_secs: expected?, least_secs: least?, most_secs: most? })
        };
        Turn { position: u32::try_from(ahead.len()).unwrap_or(u32::MAX), for_share, wait: wait() }
    }

    /// The ready jobs that come before this one, were nothing added: those of the same organization by priority and pressure, of each
    /// other one those of a higher priority, and as many of the same as bring it to the same share of the workers. And whether there are
    /// only these last.
    fn ahead(&self, slot: NodeSlot, now: Tick) -> (Vec<NodeSlot>, bool) {
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
        let (of_own, own_load) = (ahead.len(), self.load(own.requirement.organization, now));
        for (organization, mut jobs) in others {
            jobs.sort_unstable();
            jobs.truncate(self.load(organization, now).turns_before(own_load, of_own));
            ahead.extend(jobs);
        }
        let for_share = of_own == 0 && !ahead.is_empty();
        ahead.sort_unstable();
        ahead.truncate(POSITION_MAX);
        (ahead.into_iter().map(|urgency| urgency.node).collect(), for_share)
    }

    /// How many seconds it takes until the class's workers have begun all of that and have a slot free again. `None` when it is not
    /// known what one of them takes.
    fn wait(&self, class: &Class, ahead: &[NodeSlot], now: Tick, percent: u64) -> Option<u64> {
        let (mut free, kind) = (BinaryHeap::new(), class.requirement.need.kind());
        for worker in class.workers.iter().filter_map(|&machine| self.workers.get(machine)) {
            let holds = worker.jobs.iter().filter(|(job, holding)| job.kind() == kind && !holding.delivering);
            let mut holds: Vec<&Holding> = holds.map(|(_, holding)| holding).collect();
            holds.sort_by_key(|holding| holding.started_at.is_none());
            // What it has beside those on its slots is done in moments.
            for holding in holds.into_iter().take(worker.slots_for(kind) as usize) {
                let expected = self.expected(holding.node, percent)?;
                free.push(Reverse(holding.left(expected, now, percent)));
            }
            free.extend(worker.stopping.values().map(|&until| Reverse(until.millis_since(now))));
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

/// Whether the classes have a worker in common, and its slots.
pub(super) fn compete(a: &Class, b: &Class) -> bool {
    let (few, many) = if a.workers.len() <= b.workers.len() { (a, b) } else { (b, a) };
    a.requirement.need.kind() == b.requirement.need.kind() && few.workers.iter().any(|machine| many.workers.contains(machine))
}
