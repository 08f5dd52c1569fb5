//! On which machines the outputs of a build are, so that what needs them need not fetch them.

use std::{cmp::Reverse, collections::HashMap, num::NonZeroU32};

use gradient_domain::WorkerId;

/// How many machines are remembered for each build: where it was built, and who fetched it last.
const MACHINES: usize = 3;

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

/// How much of what a build needs is on which machine.
#[derive(Debug, Default)]
pub(crate) struct Nearby {
    machines: Vec<(Machine, u64)>,
}

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
    /// The outputs are made, and on this machine only.
    pub(crate) fn make(&mut self, bytes: u64, on: Machine) {
        self.kibibytes = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        self.machines = [None; MACHINES];
        self.machines[0] = Some(on);
    }

    /// Another machine has fetched them.
    pub(crate) fn fetch(&mut self, to: Machine) {
        if !self.machines.contains(&Some(to)) {
            // The first is where they were made; of the others the one that came last is the likeliest to have them still.
            self.machines[1..].rotate_right(1);
            self.machines[1] = Some(to);
        }
    }
}

impl Nearby {
    pub(crate) fn add(&mut self, copies: &Copies) {
        for machine in copies.machines.iter().flatten().filter(|_| copies.kibibytes > 0) {
            let bytes = u64::from(copies.kibibytes) * 1024;
            match self.machines.iter_mut().find(|(known, _)| known == machine) {
                Some((_, sum)) => *sum += bytes,
                None => self.machines.push((*machine, bytes)),
            }
        }
    }

    /// Where something is, most first.
    pub(crate) fn most_first(mut self) -> impl Iterator<Item = (Machine, u64)> {
        self.machines.sort_unstable_by_key(|&(machine, bytes)| (Reverse(bytes), machine));
        self.machines.into_iter()
    }
}
