//! On which machines the outputs of a build are, so that what needs them need not fetch them.

use std::{collections::HashMap, num::NonZeroU32};

use gradient_domain::WorkerId;

use crate::node::NodeSlot;

/// How many machines are remembered for each build: where it was built, and who fetched it last.
const MACHINES: usize = 3;

/// To fetch less than this takes no time: the worker with the most free slots is the better one.
const LARGE_KIBIBYTES: u32 = 4 << 10;

/// A machine in four bytes. It keeps its number, and what it has, when its worker goes and comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Machine(NonZeroU32);

/// The machines that ever were connected: as many as there are registrations.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    ids: Vec<WorkerId>,
    numbers: HashMap<WorkerId, Machine>,
}

/// Where the outputs of one build are, and how large they are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Copies {
    kibibytes: u32,
    machines: [Option<Machine>; MACHINES],
}

/// A build that others need. Their evaluations may be others, so that it may leave memory before them, and its slot be taken: it is the one
/// with this sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) slot: NodeSlot,
    pub(crate) sequence: u64,
}

/// The two largest of a build's inputs that are worth to be near to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LargeInputs([Option<Input>; 2]);

impl Machines {
    pub(crate) fn number(&mut self, id: WorkerId) -> Machine {
        *self.numbers.entry(id).or_insert_with(|| {
            self.ids.push(id);
            let number = u32::try_from(self.ids.len()).ok().and_then(NonZeroU32::new);
            Machine(number.unwrap_or(NonZeroU32::MAX))
        })
    }

    pub(crate) fn id(&self, machine: Machine) -> Option<WorkerId> {
        self.ids.get(machine.0.get() as usize - 1).copied()
    }
}

impl Copies {
    pub(crate) const fn kibibytes(&self) -> u32 {
        self.kibibytes
    }

    /// Whether a build begins noticeably sooner where they are.
    pub(crate) const fn are_large(&self) -> bool {
        self.kibibytes >= LARGE_KIBIBYTES
    }

    pub(crate) fn machines(&self) -> impl Iterator<Item = Machine> {
        self.machines.into_iter().flatten()
    }

    pub(crate) fn are_on(&self, machine: Machine) -> bool {
        self.machines.contains(&Some(machine))
    }

    /// The outputs are made, and on this machine only.
    pub(crate) fn make(&mut self, bytes: u64, on: Machine) {
        self.kibibytes = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        self.machines = [None; MACHINES];
        self.machines[0] = Some(on);
    }

    /// Another machine has fetched them.
    pub(crate) fn fetch(&mut self, to: Machine) {
        if !self.are_on(to) {
            // The first is where they were made; of the others the one that came last is the likeliest to have them still.
            self.machines[1..].rotate_right(1);
            self.machines[1] = Some(to);
        }
    }
}

impl LargeInputs {
    /// One more is known, of a size that is told of each.
    pub(crate) fn add(&mut self, input: Input, size: impl Fn(Input) -> u32) {
        let [first, second] = &mut self.0;
        match (*first, *second) {
            (Some(known), _) if known == input => {}
            (None, _) => *first = Some(input),
            (Some(largest), _) if size(input) > size(largest) => (*first, *second) = (Some(input), Some(largest)),
            (_, Some(known)) if size(input) <= size(known) => {}
            _ => *second = Some(input),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Input> + Clone {
        self.0.into_iter().flatten()
    }
}
