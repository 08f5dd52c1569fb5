//! The seeded traces: each another graph under other conditions, and what every policy makes of it.

use std::time::Duration;

use anyhow::Result;

use super::baselines::Baseline;
use super::draws::Draws;
use super::production::Sizes;
use super::shape::{Plan, Shape};
use super::trace::{Conditions, Trace};
use super::{bounds, fleet, production};
use crate::bench::figures::number;

/// How much work there is for each slot, compared to the critical path: where both are about the same, order matters most.
const PRESSURES: [f64; 6] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0];
/// Parts of the packages that were built before.
pub(super) const HISTORIES: [f64; 4] = [1.0, 0.7, 0.5, 0.0];

/// What came of one trace, as ratios to the lower bound.
#[derive(Debug)]
pub(super) struct Scored {
    pub(super) pressure: f64,
    pub(super) label: String,
    /// The production scheduler, with each of [`HISTORIES`].
    pub(super) production: [f64; HISTORIES.len()],
    pub(super) baselines: [f64; Baseline::ALL.len()],
    pub(super) conservation: f64,
    /// The bytes that machines fetched, and those when the scheduler knows no sizes.
    pub(super) fetched: [u64; 2],
    /// The mean time of an evaluation from its coming to its end, in seconds.
    pub(super) flow: f64,
}

/// The trace of a seed; `graph` takes the place of a generated one.
pub(super) fn score(seed: u64, graph: Option<&Shape>) -> Result<Scored> {
    let mut draws = Draws::new(seed);
    let place = usize::try_from(seed)?;
    let pressure = PRESSURES[place % PRESSURES.len()];
    let plan = Plan {
        builds: [300, 700, 1500, 3000, 7000][draws.below(5)],
        chained: [50, 150, 400][draws.below(3)],
        mixed: draws.below(2) == 0,
        scarce: [0, 10, 40][draws.below(3)],
    };
    let generated = graph.is_none().then(|| plan.generate(&mut draws));
    let shape = generated.as_ref().or(graph).unwrap_or_else(|| unreachable!("one of both is there"));
    let conditions = Conditions {
        seed,
        evaluations: [1, 1, 4, 12][draws.below(4)],
        failing: [0, 0, 20][draws.below(3)],
        noise: [0.1, 0.3, 1.0][draws.below(3)],
    };
    let mut trace = Trace::new(shape, conditions);
    let work: u64 = (0..trace.took.len()).map(|build| trace.work(build)).sum();
    let path = bounds::of(&trace).critical_path;
    let slots = slots_for(number(work) / path / pressure);
    trace.fleet = fleet::for_trace(&trace, slots, &mut draws);
    // Within half the time that all of it needs.
    trace.spread(Duration::from_secs_f64(path.max(number(work) / number(slots)) / 2000.0).as_secs() * 1000);
    let best = bounds::of(&trace).best;
    let mut outcomes = Vec::new();
    for known in HISTORIES {
        outcomes.push(production::run(&trace, &trace.estimates(conditions, known))?);
    }
    let estimates = trace.estimates(conditions, HISTORIES[0]);
    let mut production = [0.0; HISTORIES.len()];
    for (ratio, outcome) in production.iter_mut().zip(&outcomes) {
        *ratio = number(outcome.makespan) / best;
    }
    let blind = production::run_with(&trace, &estimates, Sizes::Unknown)?;
    let flow = &outcomes[0].flow;
    Ok(Scored {
        pressure,
        label: format!(
            "{} builds, {} edges, {} slots, {conditions:?}, {plan:?}",
            shape.builds.len(),
            shape.edges(),
            trace.slots()
        ),
        production,
        baselines: Baseline::ALL.map(|baseline| number(baseline.makespan(&trace, &estimates, seed)) / best),
        conservation: outcomes.iter().map(|outcome| outcome.conservation).fold(1.0, f64::min),
        fetched: [outcomes[0].fetched, blind.fetched],
        flow: number(flow.iter().sum()) / number(u64::try_from(flow.len())?) / 1000.0,
    })
}

fn slots_for(wanted: f64) -> u64 {
    (1..16_000).find(|&slots| number(slots) >= wanted.round()).unwrap_or(16_000)
}
