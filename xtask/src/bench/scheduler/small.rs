//! Small graphs, for which the best schedule is known.

use anyhow::Result;

use super::draws::Draws;
use super::exact;
use super::fleet::Machines;
use super::production;
use super::shape::Shape;
use super::trace::{Conditions, Trace};
use crate::bench::figures::number;

/// How far the production scheduler is from the best schedule, for as many graphs as could be solved.
pub(super) fn ratios(seeds: u64) -> Result<Vec<f64>> {
    let mut ratios = Vec::new();
    for seed in 0..seeds {
        let mut draws = Draws::new(seed);
        let builds = 8 + draws.below(8);
        let shape = Shape::small(builds, &mut draws);
        let conditions = Conditions { seed, evaluations: 1, failing: 0, noise: 0.1 };
        let mut trace = Trace::new(&shape, conditions);
        let slots = u32::try_from(2 + draws.below(2))?;
        trace.fleet = vec![Machines { systems: vec!["x86_64-linux".to_owned()], features: Vec::new(), slots, count: 1 }];
        let outcome = production::run(&trace, &trace.estimates(conditions, 1.0))?;
        if let Some(best) = exact::makespan(&trace, outcome.makespan) {
            ratios.push(number(outcome.makespan) / number(best));
        }
    }
    Ok(ratios)
}
