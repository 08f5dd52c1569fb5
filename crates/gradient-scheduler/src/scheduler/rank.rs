//! How much time the chain of builds takes that begins with each build: its rank, the critical path from there. Of two builds the
//! one with more behind it goes first.
//!
//! Ranks only order the queue, so they may lag behind while an evaluation still finds builds: they are brought up to date when
//! the graph has grown by a quarter, and when it is complete. That way a graph that comes in small parts costs a few passes, not
//! one per part. A pass looks at most at what the new builds need, all of which had to be made the evaluation's before: no graph
//! makes ranks cost much more than that.

use std::collections::BinaryHeap;

use super::Scheduler;
use crate::node::NodeSlot;

impl Scheduler {
    /// Remembers new builds for the next pass, and makes it when it is due.
    pub(super) fn rank_later(&mut self, new: impl IntoIterator<Item = NodeSlot>) {
        self.unranked.extend(new.into_iter().map(|slot| (self.nodes[slot].sequence, slot)));
        if self.unranked.len() >= self.nodes.len() / 4 {
            self.rank_now();
        }
    }

    /// Raises the ranks of everything that new builds depend on.
    ///
    /// Goes from late to early nodes: a dependency is older than its dependents, so each node is final when its turn comes.
    pub(super) fn rank_now(&mut self) {
        let mut raised = BinaryHeap::from(std::mem::take(&mut self.unranked));
        let mut last = None;
        while let Some((sequence, slot)) = raised.pop() {
            // What was remembered may have left memory, and its slot may have been taken.
            let is_there = self.nodes.get(slot).is_some_and(|node| node.sequence == sequence && !node.is_ended());
            if !is_there || last.replace(sequence) == Some(sequence) {
                continue;
            }
            let behind = self.nodes[slot].rank;
            if self.nodes[slot].blocked == 0 {
                continue;
            }
            let dependencies = std::mem::take(&mut self.nodes[slot].waits_for);
            for &dependency in &dependencies {
                let node = &self.nodes[dependency];
                let rank = node.expected.plus(behind);
                if node.rank < rank && !node.is_ended() {
                    raised.push((node.sequence, dependency));
                    self.reorder(dependency, |node| node.rank = rank);
                }
            }
            self.nodes[slot].waits_for = dependencies;
        }
    }
}
