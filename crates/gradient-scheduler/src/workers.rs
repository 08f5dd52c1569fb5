//! All workers, by a number in four bytes.

use std::{collections::HashMap, num::NonZeroU32};

use gradient_domain::WorkerId;

use crate::worker::Worker;

/// The machine of a worker. It keeps its number, and what it has, when its worker goes and comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Machine(NonZeroU32);

/// The workers that are connected or own jobs, and the numbers of all that ever were: as many as there are registrations.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    /// By number, from 1 on.
    present: Vec<Option<Box<Worker>>>,
    ids: Vec<WorkerId>,
    numbers: HashMap<WorkerId, Machine>,
}

impl Workers {
    /// The worker's number, a new one if it has none.
    pub(crate) fn number(&mut self, id: WorkerId) -> Machine {
        *self.numbers.entry(id).or_insert_with(|| {
            self.ids.push(id);
            self.present.push(None);
            let number = u32::try_from(self.ids.len()).ok().and_then(NonZeroU32::new);
            Machine(number.unwrap_or_else(|| unreachable!("memory ends before 2^32 workers")))
        })
    }

    /// The number of a worker that is connected or owns jobs.
    pub(crate) fn find(&self, id: WorkerId) -> Option<Machine> {
        self.numbers.get(&id).copied().filter(|&machine| self.get(machine).is_some())
    }

    pub(crate) fn id(&self, machine: Machine) -> WorkerId {
        self.ids[machine.index()]
    }

    pub(crate) fn get(&self, machine: Machine) -> Option<&Worker> {
        self.present[machine.index()].as_deref()
    }

    pub(crate) fn get_mut(&mut self, machine: Machine) -> Option<&mut Worker> {
        self.present[machine.index()].as_deref_mut()
    }

    /// The worker, which is there from now on.
    pub(crate) fn enter(&mut self, machine: Machine) -> &mut Worker {
        self.present[machine.index()].get_or_insert_default()
    }

    pub(crate) fn leave(&mut self, machine: Machine) {
        self.present[machine.index()] = None;
    }

    /// Those that are there, in the order in which they first were.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Machine, &Worker)> {
        let machines = (1..).filter_map(NonZeroU32::new).map(Machine);
        machines.zip(&self.present).filter_map(|(machine, worker)| Some((machine, worker.as_deref()?)))
    }
}

impl Machine {
    const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}
