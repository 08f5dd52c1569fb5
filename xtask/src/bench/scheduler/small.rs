//! Small graphs, for which the best schedule is known.

use anyhow::Result;

use super::draws::Draws;
use super::exact;
use super::fleet::Machines;
use super::production;
use super::shape::Shape;
use super::trace::{Conditions, Trace};
use crate::bench::figures::number;

/// What came of the small graphs.
#[derive(Debug, Default)]
pub(super) struct Small {
    /// How far the production scheduler is from the best schedule, for as many graphs as could be solved.
    pub(super) ratios: Vec<f64>,
    /// How many graphs took longer with one slot more: Graham's anomaly, which no scheduler is free of that never waits.
    pub(super) anomalies: usize,
}

/// Builds so many small graphs.
pub(super) fn measure(seeds: u64) -> Result<Small> {
    let mut small = Small::default();
    for seed in 0..seeds {
        let mut draws = Draws::new(seed);
        let builds = 8 + draws.below(8);
        let shape = Shape::small(builds, &mut draws);
        let conditions = Conditions { seed, evaluations: 1, failing: 0, noise: 0.1 };
        let mut trace = Trace::new(&shape, conditions);
        let expected = trace.estimates(conditions, 1.0);
        let slots = u32::try_from(2 + draws.below(2))?;
        trace.fleet = machine(slots);
        let makespan = production::run(&trace, &expected)?.makespan;
        if let Some(best) = exact::makespan(&trace, makespan) {
            small.ratios.push(number(makespan) / number(best));
        }
        trace.fleet = machine(slots + 1);
        small.anomalies += usize::from(production::run(&trace, &expected)?.makespan > makespan);
    }
    Ok(small)
}

fn machine(slots: u32) -> Vec<Machines> {
    vec![Machines { systems: vec!["x86_64-linux".to_owned()], features: Vec::new(), slots, count: 1 }]
}
