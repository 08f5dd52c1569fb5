//! On which machines the outputs of a build are, so that what needs them need not fetch them.

use crate::{node::NodeSlot, workers::Machine};

/// How many machines are remembered for each build: where it was built, and who fetched it last.
const MACHINES: usize = 3;

/// To fetch less than this takes no time: the worker with the most free slots is the better one.
const LARGE_KIBIBYTES: u32 = 4 << 10;

/// Where the outputs of one build are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Copies([Option<Machine>; MACHINES]);

/// How large they are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    kibibytes: u32,
}

/// A build that others need. Their evaluations may be others, so that it may leave memory before them, and its slot be taken: it is the one
/// with this sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) slot: NodeSlot,
    pub(crate) sequence: u64,
    /// How large its outputs are.
    pub(crate) kibibytes: u32,
}

/// The two largest of a build's inputs that are worth to be near to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LargeInputs([Option<Input>; 2]);

impl Size {
    pub(crate) fn of(bytes: u64) -> Self {
        Self { kibibytes: u32::try_from(bytes / 1024).unwrap_or(u32::MAX) }
    }

    /// In KiB, when a build begins noticeably sooner where they are.
    pub(crate) const fn if_large(self) -> Option<u32> {
        if self.kibibytes < LARGE_KIBIBYTES { None } else { Some(self.kibibytes) }
    }
}

impl Copies {
    /// The outputs are made, and on this machine only.
    pub(crate) fn made_on(machine: Machine) -> Self {
        let mut machines = [None; MACHINES];
        machines[0] = Some(machine);
        Self(machines)
    }

    pub(crate) fn machines(&self) -> impl Iterator<Item = Machine> {
        self.0.into_iter().flatten()
    }

    pub(crate) fn are_on(&self, machine: Machine) -> bool {
        self.0.contains(&Some(machine))
    }

    /// Another machine has fetched them.
    pub(crate) fn fetch(&mut self, to: Machine) {
        if !self.are_on(to) {
            // The first is where they were made; of the others the one that came last is the likeliest to have them still.
            self.0[1..].rotate_right(1);
            self.0[1] = Some(to);
        }
    }
}

impl LargeInputs {
    /// One more is known.
    pub(crate) fn add(&mut self, input: Input) {
        let [first, second] = &mut self.0;
        match (*first, *second) {
            (Some(known), _) if known == input => {}
            (None, _) => *first = Some(input),
            (Some(largest), _) if input.kibibytes > largest.kibibytes => (*first, *second) = (Some(input), Some(largest)),
            (_, Some(known)) if input.kibibytes <= known.kibibytes => {}
            _ => *second = Some(input),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Input> + Clone {
        self.0.into_iter().flatten()
    }
}
