//! When an evaluation is done.

use std::collections::BTreeSet;

use gradient_domain::{EvaluationId, WorkerId};

use super::{
    Scheduler,
    turn::{AS_EXPECTED, LATE, SOON, compete},
};
use crate::{
    Estimate, Stage, Tick, UNKNOWN_DURATION,
    class::ClassSlot,
    evaluation::Evaluation,
    node::{Millis, Node, NodeSlot},
};

/// What is left to do of something, in milliseconds.
#[derive(Debug, Default, Clone, Copy)]
struct Rest {
    /// On the longest way.
    path: u64,
    /// On all slots together.
    work: u64,
}

impl Scheduler {
    /// How long it takes until all builds of an evaluation have ended; looks at each of them.
    ///
    /// It takes at least as long as the longest chain, and as all of its builds on all slots that can do them. The most that is told
    /// is for workers that do everything else first that could go there. `None` when not all of its builds are known yet, when nothing is
    /// known of how long they take, and when there is no worker for one of them.
    pub fn estimate_evaluation(&self, evaluation: EvaluationId, now: Tick) -> Option<Estimate> {
        let evaluation = &self.evaluations[*self.evaluation_of.get(&evaluation)?];
        let is_served = || evaluation.classes.keys().all(|&class| self.is_served(class));
        if evaluation.stage != Stage::Build || !evaluation.sealed || evaluation.unfinished == 0 || !is_served() {
            return None;
        }
        let unfinished = || evaluation.members.iter().copied().filter(|&slot| !self.nodes[slot].is_ended());
        if unfinished().all(|slot| self.nodes[slot].expected == Millis::from(UNKNOWN_DURATION)) {
            return None;
        }
        let classes: BTreeSet<ClassSlot> = unfinished().map(|slot| self.nodes[slot].class).collect();
        let workers: BTreeSet<WorkerId> = classes.iter().flat_map(|&class| &self.classes[class].workers).copied().collect();
        let slots: u64 = workers.iter().filter_map(|id| self.workers.get(id)).map(|worker| u64::from(worker.slots)).sum();
        let [expected, least, most] = [AS_EXPECTED, SOON, LATE].map(|percent| self.rest(evaluation, now, percent));
        let others = self.work_beside(&classes) * LATE / AS_EXPECTED;
        let secs = |rest: Rest| rest.path.max(rest.work.checked_div(slots).unwrap_or(0)).div_ceil(1000);
        Some(Estimate {
            expected_secs: secs(expected),
            least_secs: secs(least),
            most_secs: secs(Rest { work: most.work.max(others), ..most }),
        })
    }

    /// What is left of an evaluation when its builds take so many percent of what is expected.
    fn rest(&self, evaluation: &Evaluation, now: Tick, percent: u64) -> Rest {
        let mut rest = Rest::default();
        for &slot in &evaluation.members {
            let node = &self.nodes[slot];
            if node.is_ended() {
                continue;
            }
            let of_node = self.left(slot, node, now, percent);
            let behind = u64::from(node.rank.get().saturating_sub(node.expected.get())) * percent / AS_EXPECTED;
            rest.work += of_node;
            rest.path = rest.path.max(of_node + behind);
        }
        rest
    }

    /// What is left of one build.
    fn left(&self, slot: NodeSlot, node: &Node, now: Tick, percent: u64) -> u64 {
        let expected = u64::from(node.expected.get()) * percent / AS_EXPECTED;
        match node.owner().and_then(|owner| self.workers.get(&owner)?.jobs.get(&node.job)) {
            Some(holding) if holding.node == slot => holding.left(expected, now, percent),
            _ => expected,
        }
    }

    /// What has not begun of all that such workers could be given.
    fn work_beside(&self, classes: &BTreeSet<ClassSlot>) -> u64 {
        let competing =
            self.classes.iter().filter(|(_, other)| classes.iter().any(|&class| compete(&self.classes[class], other)));
        competing.map(|(_, class)| class.work).sum()
    }
}
