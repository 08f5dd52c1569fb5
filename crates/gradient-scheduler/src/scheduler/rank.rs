//! How long a chain of builds waits for each build: its rank. Of two builds the one with more behind it goes first.

use std::collections::BTreeSet;

use super::Scheduler;
use crate::node::{NodeSlot, RANK_MAX};

impl Scheduler {
    /// Raises the ranks of everything that these new builds depend on.
    ///
    /// Goes from late to early nodes: a dependency is older than its dependents, so each node is final when its turn comes.
    pub(super) fn raise_ranks(&mut self, new: impl IntoIterator<Item = NodeSlot>) {
        let mut raised: BTreeSet<(u64, NodeSlot)> = new.into_iter().map(|slot| (self.nodes[slot].sequence, slot)).collect();
        while let Some((_, slot)) = raised.pop_last() {
            let rank = self.nodes[slot].rank.saturating_add(1).min(RANK_MAX);
            let dependencies = std::mem::take(&mut self.nodes[slot].dependencies);
            for &dependency in &dependencies {
                let node = &self.nodes[dependency];
                if node.rank < rank && !node.is_ended() {
                    raised.insert((node.sequence, dependency));
                    self.reorder(dependency, |node| node.rank = rank);
                }
            }
            self.nodes[slot].dependencies = dependencies;
        }
    }
}
