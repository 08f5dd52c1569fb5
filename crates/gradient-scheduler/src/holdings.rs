//! The jobs that one worker owns.

use gradient_domain::Job;

use crate::{
    Tick,
    node::{Millis, NodeSlot},
};

/// What runs for longer than is expected of it goes on for at least so much of the time that it has run, as far as can be told.
const OVERDUE: u64 = 8;

/// One job in the hands of its owner.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) node: NodeSlot,
    /// How long it is expected to run.
    pub(crate) expected: Millis,
    pub(crate) started_at: Option<Tick>,
    /// Whether only its outputs are on their way, which takes no slot.
    pub(crate) delivering: bool,
    /// Whether its outputs are there for other builds on the same worker.
    pub(crate) usable: bool,
}

/// The jobs in order: few, and close together in memory.
#[derive(Debug, Default)]
pub(crate) struct Holdings(Vec<(Job, Holding)>);

impl Holding {
    pub(crate) const fn new(node: NodeSlot, expected: Millis) -> Self {
        Self { node, expected, started_at: None, delivering: false, usable: false }
    }

    /// How many milliseconds it still runs, when it is expected to take so many, in percent of what is expected of all.
    pub(crate) fn left(&self, expected: u64, now: Tick, percent: u64) -> u64 {
        let ran = self.started_at.map_or(0, |started| now.millis_since(started));
        expected.saturating_sub(ran).max(ran * percent / 100 / OVERDUE)
    }
}

impl Holdings {
    pub(crate) fn insert(&mut self, job: Job, holding: Holding) {
        match self.position(job) {
            Ok(at) => self.0[at].1 = holding,
            Err(at) => self.0.insert(at, (job, holding)),
        }
    }

    pub(crate) fn remove(&mut self, job: Job) -> Option<Holding> {
        let at = self.position(job).ok()?;
        Some(self.0.remove(at).1)
    }

    pub(crate) fn get(&self, job: Job) -> Option<&Holding> {
        self.position(job).ok().map(|at| &self.0[at].1)
    }

    pub(crate) fn get_mut(&mut self, job: Job) -> Option<&mut Holding> {
        self.position(job).ok().map(|at| &mut self.0[at].1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Job, &Holding)> {
        self.0.iter().map(|(job, holding)| (*job, holding))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, job: Job) -> Result<usize, usize> {
        self.0.binary_search_by_key(&job, |&(other, _)| other)
    }
}
