//! When an evaluation is done.

use std::collections::BTreeSet;

use gradient_domain::EvaluationId;

use super::{
    Scheduler,
    turn::{AS_EXPECTED, LATE, SOON, compete},
};
use crate::{
    Estimate, Stage, Tick, UNKNOWN_DURATION,
    class::ClassSlot,
    evaluation::{Evaluation, EvaluationSlot, Remainder, Rest},
    node::{Millis, Node, NodeSlot},
    workers::Machine,
};

/// Of an evaluation with so few builds, all are looked at each time.
const FEW: usize = 1000;

/// Of a larger one, what was seen is remembered for so long, in microseconds, for each build of each evaluation: however many estimates
/// are asked for, to look at the builds takes less than a hundredth of the time.
const REMEMBERED_MICROS: u64 = 10;

impl Scheduler {
    /// How long it takes until all builds of an evaluation have ended.
    ///
    /// It takes at least as long as the longest chain, and as all of its builds on all slots that can do them. The most that is told
    /// is for workers that do everything else first that could go there. `None` when not all of its builds are known yet, when nothing is
    /// known of how long they take, and when there is no worker for one of them.
    ///
    /// What is left of a large evaluation is not looked at each time: of 300,000 builds it may be three seconds ago that it was, and then
    /// all is taken to have gone as expected since.
    pub fn estimate_evaluation(&mut self, evaluation: EvaluationId, now: Tick) -> Option<Estimate> {
        let slot = *self.evaluation_of.get(&evaluation)?;
        let evaluation = &self.evaluations[slot];
        let is_served = || evaluation.classes.iter().all(|(&class, counts)| !counts.are_idle() || self.is_served(class));
        if evaluation.stage != Stage::Build || !evaluation.sealed || evaluation.unfinished == 0 || !is_served() {
            return None;
        }
        let Remainder { at, rests } = self.remainder(slot, now);
        let [expected, least, most] = rests?;
        let classes = &self.evaluations[slot].classes;
        let classes: Vec<ClassSlot> = classes.keys().copied().collect();
        let workers: BTreeSet<Machine> = classes.iter().flat_map(|&class| &self.classes[class].workers).copied().collect();
        let workers = workers.into_iter().filter_map(|machine| self.workers.get(machine));
        let slots: u64 = workers.map(|worker| u64::from(worker.slots)).sum();
        let others = self.work_beside(&classes) * LATE / AS_EXPECTED;
        let passed = now.millis_since(at);
        let secs = |rest: Rest| {
            let millis = rest.path.max(rest.work.checked_div(slots).unwrap_or(0));
            // As long as something is left it takes a moment.
            millis.saturating_sub(passed).max(millis.min(1)).div_ceil(1000)
        };
        Some(Estimate {
            expected_secs: secs(expected),
            least_secs: secs(least),
            most_secs: secs(Rest { work: most.work.max(others), ..most }),
        })
    }

    /// What is left of an evaluation, or was when it was remembered.
    fn remainder(&mut self, slot: EvaluationSlot, now: Tick) -> Remainder {
        let members: usize = self.evaluations.iter().map(|(_, evaluation)| evaluation.members.len()).sum();
        let evaluation = &self.evaluations[slot];
        let remembered = u64::try_from(members).unwrap_or(u64::MAX).saturating_mul(REMEMBERED_MICROS) / 1000;
        let is_fresh = |known: &Remainder| now.millis_since(known.at) < remembered;
        if evaluation.members.len() > FEW
            && let Some(known) = evaluation.remainder.filter(is_fresh)
        {
            return known;
        }
        let remainder = Remainder { at: now, rests: self.look_at(evaluation, now) };
        self.evaluations[slot].remainder = Some(remainder);
        remainder
    }

    /// What is left of an evaluation's builds when they take as long as expected, half and twice of that; `None` when nothing is known of
    /// any.
    fn look_at(&self, evaluation: &Evaluation, now: Tick) -> Option<[Rest; 3]> {
        let (mut rests, mut is_known) = ([Rest::default(); 3], false);
        for &slot in &evaluation.members {
            let node = &self.nodes[slot];
            if node.is_ended() {
                continue;
            }
            is_known |= node.expected != Millis::from(UNKNOWN_DURATION);
            for (rest, percent) in rests.iter_mut().zip([AS_EXPECTED, SOON, LATE]) {
                let of_node = self.left(slot, node, now, percent);
                let behind = u64::from(node.rank.get().saturating_sub(node.expected.get())) * percent / AS_EXPECTED;
                rest.work += of_node;
                rest.path = rest.path.max(of_node + behind);
            }
        }
        is_known.then_some(rests)
    }

    /// What is left of one build.
    fn left(&self, slot: NodeSlot, node: &Node, now: Tick, percent: u64) -> u64 {
        let expected = u64::from(node.expected.get()) * percent / AS_EXPECTED;
        match node.owner().and_then(|owner| self.workers.get(owner)?.jobs.get(node.job)) {
            Some(holding) if holding.node == slot => holding.left(expected, now, percent),
            _ => expected,
        }
    }

    /// What has not begun of all that such workers could be given.
    fn work_beside(&self, classes: &[ClassSlot]) -> u64 {
        let competing =
            self.classes.iter().filter(|(_, other)| classes.iter().any(|&class| compete(&self.classes[class], other)));
        competing.map(|(_, class)| class.work).sum()
    }
}
