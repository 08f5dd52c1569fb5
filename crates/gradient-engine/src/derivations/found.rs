//! What an evaluation has found, so that what most of it needs is not looked up again for each part.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use gradient_domain::{DerivationId, Epoch, EvaluationId};
use gradient_nix::StorePath;
use gradient_storage::{builds::LatestBuild, derivations::KnownDerivation};

use super::node::Node;

/// Of how many derivations one worker's evaluation is remembered, some 30 MB; of a larger one all is forgotten now and then.
const MAX_DERIVATIONS: usize = 100_000;

/// Of how many of them it is remembered what they need, some 30 MB; of others it is read from the database.
const MAX_NODES: usize = 40_000;

/// A derivation that an evaluation has named.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) known: KnownDerivation,
    /// Its newest build as it was when it was last looked at; the one that the evaluation needs once that is [reached](Self::reach).
    pub(super) latest: Option<LatestBuild>,
    pub(super) reach: Reach,
    /// What it needs and makes, until it is reached.
    pub(super) node: Option<Box<Node>>,
}

/// What of a derivation an evaluation needs, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Nothing: no entry point, or none yet, needs it.
    Unreached,
    /// Only what has ended already needs it.
    Behind,
    /// Its outputs.
    Needed,
}

/// What is in memory of an evaluation.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) derivations: HashMap<StorePath, Remembered>,
    /// Those of which all that ended builds needed is linked, and which are not above, or without what they need.
    pub(super) behind: HashSet<DerivationId>,
    /// How long upstreams were asked.
    pub(super) asked_for: Duration,
    /// The upstreams of which it was said that they do not answer.
    pub(super) silent: BTreeSet<String>,
}

impl Memory {
    /// What is to be remembered of a derivation of which nothing was known here.
    pub(super) fn add(&mut self, path: StorePath, known: KnownDerivation, latest: Option<LatestBuild>, node: Option<Node>) {
        let node = node.map(Box::new);
        let new = || Remembered { known, latest, reach: Reach::Unreached, node: None };
        let remembered = self.derivations.entry(path).or_insert_with(new);
        if node.is_some() {
            remembered.node = node;
        }
    }

    /// What a derivation needs and makes, when that is remembered.
    pub(super) fn node(&self, path: &StorePath) -> Option<&Node> {
        self.derivations.get(path)?.node.as_deref()
    }

    fn bound(&mut self) {
        let nodes = self.derivations.values().filter(|remembered| remembered.node.is_some()).count();
        if nodes > MAX_NODES {
            for remembered in self.derivations.values_mut() {
                remembered.node = None;
            }
        }
        if self.derivations.len() > MAX_DERIVATIONS {
            self.derivations = HashMap::new();
        }
        if self.behind.len() > MAX_DERIVATIONS {
            self.behind = HashSet::new();
        }
    }
}

/// What the evaluation has found that a worker is at.
#[derive(Debug, Default)]
pub(crate) struct Found {
    of: Option<(EvaluationId, Epoch)>,
    memory: Memory,
}

impl Found {
    /// What this assignment has found; nothing is left here until it is [kept](Self::keep).
    pub(super) fn take_of(&mut self, evaluation: EvaluationId, epoch: Epoch) -> Memory {
        let Self { of, memory } = std::mem::take(self);
        if of == Some((evaluation, epoch)) { memory } else { Memory::default() }
    }

    /// Keeps what is durable now.
    pub(super) fn keep(&mut self, evaluation: EvaluationId, epoch: Epoch, mut memory: Memory) {
        memory.bound();
        *self = Self { of: Some((evaluation, epoch)), memory };
    }
}
