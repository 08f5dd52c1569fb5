//! All claims of a cache in memory: about 200 bytes for each, with eight references.

use std::collections::HashMap;

use gradient_domain::Moment;
use gradient_nix::{NarHash, StorePathHash};
use gradient_storage::cache_retention::Claim;

/// A path of the cache, or one that is only referred to.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(super) hash: StorePathHash,
    /// Whether the cache has it.
    pub(super) is_there: bool,
    /// The place of its NAR.
    pub(super) nar: u32,
    pub(super) claimed_at: Moment,
    pub(super) last_fetched_at: Option<Moment>,
    /// Where its references begin and end.
    references: (u32, u32),
}

impl Node {
    pub(super) fn last_used(&self) -> Moment {
        self.last_fetched_at.map_or(self.claimed_at, |fetched| fetched.max(self.claimed_at))
    }

    pub(super) fn is_used_anew(&self, claimed_at: Moment, last_fetched_at: Option<Moment>) -> bool {
        (self.claimed_at, self.last_fetched_at) != (claimed_at, last_fetched_at)
    }
}

/// The claims of a cache and what they refer to.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// The sizes of the NARs' files.
    pub(super) nars: Vec<u64>,
    places: HashMap<StorePathHash, u32>,
    references: Vec<u32>,
}

/// A graph that is not complete yet.
#[derive(Debug, Default)]
pub(crate) struct Loading {
    nodes: Vec<Node>,
    nars: Vec<u64>,
    places: HashMap<StorePathHash, u32>,
    references: Vec<u32>,
    nar_places: HashMap<NarHash, u32>,
}

/// A number of things that are in memory; there are never so many of them.
pub(super) fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

pub(super) fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

impl Loading {
    pub(super) fn add(&mut self, claim: &Claim) {
        let place = self.place(claim.hash);
        let begin = number(self.references.len());
        for reference in claim.references.0.iter().filter(|reference| **reference != claim.hash) {
            let reference = self.place(*reference);
            self.references.push(reference);
        }
        let nar = *self.nar_places.entry(claim.nar_hash).or_insert_with(|| {
            self.nars.push(u64::try_from(claim.file_size).unwrap_or(0));
            number(self.nars.len() - 1)
        });
        let references = (begin, number(self.references.len()));
        let (claimed_at, last_fetched_at) = (claim.claimed_at, claim.last_fetched_at);
        self.nodes[index(place)] = Node { hash: claim.hash, is_there: true, nar, claimed_at, last_fetched_at, references };
    }

    /// Where the path with this hash is, whether the cache has it or not.
    fn place(&mut self, hash: StorePathHash) -> u32 {
        *self.places.entry(hash).or_insert_with(|| {
            let claimed_at = Moment::from_micros(i64::MIN);
            self.nodes.push(Node { hash, is_there: false, nar: 0, claimed_at, last_fetched_at: None, references: (0, 0) });
            number(self.nodes.len() - 1)
        })
    }

    pub(super) fn finish(self) -> Graph {
        let Self { nodes, nars, places, references, .. } = self;
        Graph { nodes, nars, places, references }
    }
}

impl Graph {
    pub(super) fn place(&self, hash: StorePathHash) -> Option<usize> {
        self.places.get(&hash).copied().map(index)
    }

    /// The places of what a node refers to, itself never among them.
    pub(super) fn references(&self, node: usize) -> &[u32] {
        let (begin, end) = self.nodes.get(node).map_or((0, 0), |node| node.references);
        self.references.get(index(begin)..index(end)).unwrap_or_default()
    }

    /// Numbers the nodes so that each has a higher number than what it refers to; those that refer to each other, which no honest
    /// store has, share one. Also the nodes in the order of their numbers. (Tarjan's algorithm, without recursion.)
    pub(super) fn components(&self) -> (Vec<u32>, Vec<u32>) {
        const UNSEEN: u32 = u32::MAX;
        let count = self.nodes.len();
        let (mut component, mut order) = (vec![UNSEEN; count], Vec::with_capacity(count));
        let (mut seen, mut low) = (vec![UNSEEN; count], vec![0; count]);
        let (mut clock, mut components) = (0, 0);
        // The nodes whose component is open, and the way to the node that is being looked at, with the next of its references.
        let (mut open, mut way): (Vec<usize>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
        for root in 0..count {
            if seen[root] != UNSEEN {
                continue;
            }
            way.push((root, 0));
            while let Some((node, next)) = way.last_mut() {
                let node = *node;
                if seen[node] == UNSEEN {
                    (seen[node], low[node]) = (clock, clock);
                    clock += 1;
                    open.push(node);
                }
                if let Some(reference) = self.references(node).get(*next) {
                    *next += 1;
                    let reference = index(*reference);
                    if seen[reference] == UNSEEN {
                        way.push((reference, 0));
                    } else if component[reference] == UNSEEN {
                        low[node] = low[node].min(seen[reference]);
                    }
                    continue;
                }
                way.pop();
                if let Some((referrer, _)) = way.last() {
                    low[*referrer] = low[*referrer].min(low[node]);
                }
                if low[node] == seen[node] {
                    while let Some(member) = open.pop() {
                        component[member] = components;
                        order.push(number(member));
                        if member == node {
                            break;
                        }
                    }
                    components += 1;
                }
            }
        }
        (component, order)
    }
}
