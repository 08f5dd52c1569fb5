//! Brings ready jobs and free slots together.
//!
//! Before an event no ready job has a fitting free slot. So a match can only involve a class that got a ready job or a worker that
//! got a free slot, and only those are looked at.

use std::cmp::{Ordering, Reverse};

use gradient_domain::{BuildStatus, Job, JobKind, OrganizationId};

use super::{Scheduler, builds::Why};
use crate::{
    Decision, Tick,
    class::{Class, ClassSlot},
    node::{Millis, NodeSlot, Phase, Urgency},
    profile::ProfileSlot,
    share::{Load, Share},
    worker::Worker,
    workers::Machine,
};

/// With so many other slots the most urgent job does not wait long for one.
const OTHER_SLOTS_MIN: u32 = 8;

impl Scheduler {
    /// Assigns until no ready job has a fitting free slot.
    pub(super) fn dispatch(&mut self) {
        let mut candidates = std::mem::take(&mut self.roused);
        let freed = std::mem::take(&mut self.freed);
        for &machine in &freed {
            candidates.extend(self.workers.get(machine).into_iter().flat_map(|worker| &worker.classes));
        }
        loop {
            candidates.retain(|&class| self.may_be_assigned(class));
            let Some((class, node)) = self.most_urgent(candidates.iter().copied()) else { break };
            if let Some(worker) = self.choose_worker(class, node) {
                self.assign(self.filler(class, node, worker), worker);
            } else {
                candidates.remove(&class);
            }
        }
        for machine in freed {
            self.begin_early(machine);
            self.assign_ahead(machine);
        }
    }

    /// Gives a worker whose slots are taken, but only for moments, short builds that have to wait anyway.
    fn assign_ahead(&mut self, machine: Machine) {
        while let Some(worker) = self.workers.get(machine).filter(|worker| worker.takes_ahead(Millis::default())) {
            let is_build = |class: &ClassSlot| self.classes[*class].requirement.need.kind() == JobKind::Build;
            let Some((_, node)) = self.most_urgent(worker.classes.iter().copied().filter(is_build)) else { return };
            // What is long does not wait behind others, and nothing goes before it.
            if !worker.takes_ahead(self.nodes[node].expected) || self.nodes[node].failed_on == Some(machine) {
                return;
            }
            self.assign(node, machine);
        }
    }

    /// Whether the class has a ready job and, as far as can be told at a glance, a worker for it.
    fn may_be_assigned(&self, class: ClassSlot) -> bool {
        self.classes.get(class).is_some_and(|class| {
            let kind = class.requirement.need.kind();
            let has_free = |&(_, profile): &(usize, ProfileSlot)| !self.profiles[profile].free[kind as usize].is_empty();
            !class.queue.is_empty() && class.profiles.iter().any(has_free)
        })
    }

    fn most_urgent(&self, candidates: impl Iterator<Item = ClassSlot>) -> Option<(ClassSlot, NodeSlot)> {
        let heads = candidates.filter_map(|slot| {
            let class = &self.classes[slot];
            Some((slot, class, *class.queue.first()?))
        });
        let first = heads.min_by(|(_, a_class, a), (_, b_class, b)| {
            let organization = |class: &Class| class.requirement.organization;
            a.priority
                .cmp(&b.priority)
                .then_with(|| self.compare_shares(organization(a_class), organization(b_class)))
                .then_with(|| b_class.pressure(b).cmp(&a_class.pressure(a)))
                .then_with(|| a.cmp(b))
        });
        first.map(|(class, _, Urgency { node, .. })| (class, node))
    }

    /// The organization that has had less for its weight comes first.
    fn compare_shares(&self, a: OrganizationId, b: OrganizationId) -> Ordering {
        if a == b { Ordering::Equal } else { self.load(a, self.now).compare(self.load(b, self.now)) }
    }

    pub(super) fn load(&self, id: OrganizationId, now: Tick) -> Load {
        self.organizations.get(&id).map_or_else(|| Share::default().load(now), |organization| organization.share.load(now))
    }

    /// Of the fitting workers with free slots one that can do the least else, so that those with rare features stay free for what
    /// needs them; of several the one with the most free slots. The one of the last failure only when there is no other.
    fn choose_worker(&self, class: ClassSlot, node: NodeSlot) -> Option<Machine> {
        let (class, failed_on) = (&self.classes[class], self.nodes[node].failed_on);
        let kind = class.requirement.need.kind();
        let free = class.profiles.iter().flat_map(|&(_, profile)| &self.profiles[profile].free[kind as usize]);
        let mut last = None;
        for &(_, machine) in free.filter(|(_, machine)| !class.requirement.excluded.contains(machine)) {
            if failed_on != Some(machine) {
                return Some(self.nearest(node, kind, machine).unwrap_or(machine));
            }
            last = Some(machine);
        }
        last
    }

    /// Of the workers that can do the same as this one, and have a free slot as well, the one that has the most of what the build
    /// needs; `None` when it makes no difference.
    fn nearest(&self, slot: NodeSlot, kind: JobKind, chosen: Machine) -> Option<Machine> {
        let profile = self.workers.get(chosen)?.profile?;
        if self.profiles[profile].free[kind as usize].len() < 2 {
            return None;
        }
        let node = &self.nodes[slot];
        let excluded = &self.classes[node.class].requirement.excluded;
        let is_free = |worker: &Worker| worker.profile == Some(profile) && worker.free(kind) > 0;
        let takes = |machine: &Machine| {
            self.workers.get(*machine).is_some_and(is_free) && node.failed_on != Some(*machine) && !excluded.contains(machine)
        };
        let inputs = node.large_inputs.iter().filter_map(|input| Some((input.kibibytes, self.copies(input)?)));
        let there = |machine: Machine| {
            let fetched = inputs.clone().filter(|(_, copies)| copies.are_on(machine));
            fetched.map(|(kibibytes, _)| u64::from(kibibytes)).sum::<u64>()
        };
        let candidates = inputs.clone().flat_map(|(_, copies)| copies.machines()).filter(takes);
        candidates.max_by_key(|&machine| (there(machine), Reverse(machine)))
    }

    /// What goes to a worker that may soon be needed for something rare: the least urgent job of the same priority, which is a short
    /// one. The most urgent one may be long, and gets one of the many other slots soon.
    fn filler(&self, slot: ClassSlot, head: NodeSlot, worker: Machine) -> NodeSlot {
        let class = &self.classes[slot];
        let Some(owner) = self.workers.get(worker) else { return head };
        if class.profiles.first().map(|&(_, profile)| profile) == owner.profile {
            return head;
        }
        let is_rarer = |other: &ClassSlot| {
            let other = &self.classes[*other];
            other.load() > Millis::default() && other.slots <= class.slots / 2 && class.slots - other.slots >= OTHER_SLOTS_MIN
        };
        if !owner.classes.iter().any(is_rarer) {
            return head;
        }
        let node = &self.nodes[head];
        let last = Urgency { rank: Reverse(Millis::default()), sequence: u64::MAX, ..node.urgency(head) };
        let filler = class.queue.range(..=last).next_back().map_or(head, |last| last.node);
        if self.nodes[filler].failed_on == Some(worker) { head } else { filler }
    }

    pub(super) fn assign(&mut self, slot: NodeSlot, machine: Machine) {
        let node = &mut self.nodes[slot];
        node.epoch = node.epoch.next();
        let (job, epoch) = (node.job, node.epoch);
        if let Job::Build(build) = job {
            self.decide_build(build, BuildStatus::Building, epoch, Why::default());
        }
        self.decisions.push(Decision::Assign { job, epoch, worker: self.workers.id(machine) });
        self.set_phase(slot, Phase::Running { worker: machine, lease: None });
        let inputs = std::mem::take(&mut self.nodes[slot].large_inputs);
        for input in inputs.iter() {
            if self.copies(input).is_some() {
                self.nodes[input.slot].copies.fetch(machine);
            }
        }
    }
}
