//! The machines.

use super::draws::Draws;
use super::shape::Need;
use super::trace::Trace;
use crate::bench::figures::number;

/// Machines that are all alike.
#[derive(Debug, Clone)]
pub(super) struct Machines {
    pub(super) systems: Vec<String>,
    pub(super) features: Vec<String>,
    pub(super) slots: u32,
    pub(super) count: u32,
}

impl Machines {
    pub(super) fn fits(&self, need: &Need) -> bool {
        let has_system = need.system == "builtin" || self.systems.contains(&need.system);
        has_system && need.features.iter().all(|feature| self.features.contains(feature))
    }

    pub(super) fn total(&self) -> u64 {
        u64::from(self.slots) * u64::from(self.count)
    }
}

/// Machines for all that a trace needs: as many slots in all, each kind about as busy as the others.
pub(super) fn for_trace(trace: &Trace<'_>, slots: u64, draws: &mut Draws) -> Vec<Machines> {
    let mut kinds: Vec<(Need, f64)> = Vec::new();
    let mut anywhere = 0.0;
    for at in 0..trace.took.len() {
        let (need, work) = (trace.shape.need(at), number(trace.work(at)));
        if need.system == "builtin" {
            anywhere += work;
        } else if let Some((_, sum)) = kinds.iter_mut().find(|(kind, _)| kind == need) {
            *sum += work;
        } else {
            kinds.push((need.clone(), work));
        }
    }
    let work: f64 = kinds.iter().map(|(_, work)| work).sum::<f64>() + anywhere;
    kinds
        .iter()
        .map(|(need, part)| {
            // More or less machines than the work justifies; whoever has features does other work too.
            let share = part / work * (0.7 + 0.8 * draws.part());
            let wanted = share * number(slots);
            machines(need, wanted, draws)
        })
        .collect()
}

fn machines(need: &Need, wanted: f64, draws: &mut Draws) -> Machines {
    let per_machine = [1, 2, 4, 8, 16][draws.below(5)];
    let mut count = 1;
    while number(count * per_machine) < wanted.min(16_000.0) {
        count += 1;
    }
    let mut slots = per_machine;
    if count == 1 {
        // A single machine has no more slots than are wanted.
        slots = (1..=per_machine).rev().find(|&slots| number(slots) <= wanted).unwrap_or(1);
    }
    let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    Machines { systems: vec![need.system.clone()], features: need.features.clone(), slots: small(slots), count: small(count) }
}
