//! What stays and what goes, decided in memory.

use std::{cmp::Reverse, ops::Range};

use gradient_domain::Moment;
use gradient_nix::StorePathHash;

use super::graph::{Graph, Node, index, number};

/// What a cache keeps besides what is held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// What was not used since then goes; nothing goes for its age without it.
    pub(super) unused_since: Option<Moment>,
    /// How much may stay.
    pub(super) max_bytes: Option<u64>,
}

/// The paths that go, each before what it refers to.
#[derive(Debug)]
pub(super) struct Plan {
    graph: Graph,
    /// The component of each node: usually itself alone.
    component: Vec<u32>,
    /// The nodes by component, and where each component begins among them.
    order: Vec<u32>,
    begins: Vec<u32>,
    /// The components that go, in the order in which they do.
    doomed: Vec<u32>,
}

/// How much goes and stays.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) paths: u64,
    pub(super) bytes: u64,
    pub(super) kept_paths: u64,
    pub(super) kept_bytes: u64,
    /// How many of the paths that stay have each NAR.
    having: Vec<u32>,
}

impl Plan {
    pub(super) fn new(graph: Graph, held: &[StorePathHash], rules: Rules) -> Self {
        let (component, order) = graph.components();
        let mut begins: Vec<u32> = Vec::new();
        for (place, node) in order.iter().enumerate() {
            if index(component[index(*node)]) == begins.len() {
                begins.push(number(place));
            }
        }
        let mut plan = Self { graph, component, order, begins, doomed: Vec::new() };
        plan.decide(held, rules);
        plan
    }

    fn decide(&mut self, held: &[StorePathHash], rules: Rules) {
        let count = self.components();
        let mut is_held = vec![false; count];
        for hash in held {
            if let Some(component) = self.component(*hash) {
                is_held[component] = true;
            }
        }
        let mut used = vec![Moment::from_micros(i64::MIN); count];
        for (node, component) in self.graph.nodes.iter().zip(&self.component) {
            let used = &mut used[index(*component)];
            *used = (*used).max(node.last_used());
        }
        // What is needed is used whenever what needs it is. Referrers have higher numbers, so that each is complete when it is met.
        for current in (0..count).rev() {
            for node in self.members(current) {
                for reference in self.graph.references(node) {
                    let needed = index(self.component[index(*reference)]);
                    is_held[needed] |= is_held[current];
                    used[needed] = used[needed].max(used[current]);
                }
            }
        }
        let stays = |component: usize| is_held[component] || rules.unused_since.is_none_or(|since| used[component] >= since);
        let doomed = (0..count).rev().filter(|component| !stays(*component)).map(number);
        self.doomed = doomed.collect();
        if let Some(max_bytes) = rules.max_bytes {
            let candidates = (0..count).filter(|component| stays(*component) && !is_held[*component]);
            // Referrers are never used later than what they refer to, so they are never behind it.
            let mut candidates: Vec<_> = candidates.map(|component| (used[component], Reverse(component))).collect();
            candidates.sort_unstable();
            self.fit(max_bytes, candidates.into_iter().map(|(_, Reverse(component))| component));
        }
        self.doomed.retain(|component| {
            let (begin, end) = range(&self.begins, self.order.len(), index(*component));
            self.order[begin..end].iter().any(|node| self.graph.nodes[index(*node)].is_there)
        });
    }

    /// Dooms the first of the candidates, as many as have to go.
    fn fit(&mut self, max_bytes: u64, candidates: impl Iterator<Item = usize>) {
        let mut left = self.tally();
        for node in self.doomed() {
            left.remove(self, node);
        }
        for component in candidates {
            if left.kept_bytes <= max_bytes {
                break;
            }
            for node in self.members(component) {
                left.remove(self, &self.graph.nodes[node]);
            }
            self.doomed.push(number(component));
        }
    }

    /// How many components there are.
    pub(super) fn components(&self) -> usize {
        self.begins.len()
    }

    /// The component of a path, when the graph has it.
    pub(super) fn component(&self, hash: StorePathHash) -> Option<usize> {
        self.graph.place(hash).and_then(|place| self.component.get(place)).copied().map(index)
    }

    /// A path that the cache had.
    pub(super) fn node(&self, hash: StorePathHash) -> Option<&Node> {
        let node = self.graph.place(hash).and_then(|place| self.graph.nodes.get(place));
        node.filter(|node| node.is_there)
    }

    pub(super) fn bytes_of(&self, node: &Node) -> u64 {
        self.graph.nars.get(index(node.nar)).copied().unwrap_or(0)
    }

    /// The places of a component's nodes.
    fn members(&self, component: usize) -> impl Iterator<Item = usize> {
        let (begin, end) = range(&self.begins, self.order.len(), component);
        self.order[begin..end].iter().copied().map(index)
    }

    /// All that goes.
    pub(super) fn doomed(&self) -> impl Iterator<Item = &Node> {
        self.nodes_of(0..self.doomed.len())
    }

    /// The next of the components that go: as many as have so many nodes, but always one.
    pub(super) fn batch(&self, begin: usize, rows: usize) -> Range<usize> {
        let mut nodes = 0;
        let next = self.doomed.iter().skip(begin).take_while(|component| {
            let is_first = nodes == 0;
            nodes += self.members(index(**component)).count();
            is_first || nodes <= rows
        });
        begin..begin + next.count()
    }

    /// The paths of some of the components that go.
    pub(super) fn nodes_of(&self, batch: Range<usize>) -> impl Iterator<Item = &Node> {
        let components = self.doomed.get(batch).unwrap_or_default().iter();
        let nodes = components.flat_map(|component| self.members(index(*component)));
        nodes.map(|node| &self.graph.nodes[node]).filter(|node| node.is_there)
    }

    /// The paths of some of the components, without those that are spared. What these refer to is spared then, too.
    pub(super) fn unneeded(&self, batch: Range<usize>, spared: &mut [bool]) -> Vec<StorePathHash> {
        let mut gone = Vec::new();
        for component in self.doomed.get(batch).unwrap_or_default().iter().copied().map(index) {
            for node in self.members(component) {
                if spared[component] {
                    for reference in self.graph.references(node) {
                        spared[index(self.component[index(*reference)])] = true;
                    }
                } else if self.graph.nodes[node].is_there {
                    gone.push(self.graph.nodes[node].hash);
                }
            }
        }
        gone
    }

    /// All of it stays.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally { paths: 0, bytes: 0, kept_paths: 0, kept_bytes: 0, having: vec![0; self.graph.nars.len()] };
        for node in self.graph.nodes.iter().filter(|node| node.is_there) {
            tally.kept_paths += 1;
            tally.having[index(node.nar)] += 1;
        }
        tally.kept_bytes = self.graph.nars.iter().sum();
        tally
    }
}

impl Tally {
    /// One of the paths goes.
    pub(super) fn remove(&mut self, plan: &Plan, node: &Node) {
        if !node.is_there {
            return;
        }
        self.paths += 1;
        self.kept_paths -= 1;
        let having = &mut self.having[index(node.nar)];
        *having -= 1;
        if *having == 0 {
            self.bytes += plan.bytes_of(node);
            self.kept_bytes -= plan.bytes_of(node);
        }
    }
}

fn range(begins: &[u32], count: usize, component: usize) -> (usize, usize) {
    let at = |component: usize| begins.get(component).copied().map_or(count, index);
    (at(component), at(component + 1))
}
