//! What organizations get of machines that all want.

use anyhow::Result;

use super::fleet::Machines;
use super::production;
use super::shape::Shape;
use super::trace::{Conditions, Evaluation, Trace};
use crate::bench::figures::number;

/// How fair it was.
#[derive(Debug)]
pub(super) struct Shares {
    /// Jain's index of the time on slots that four organizations with unlike backlogs got while all had work: 1 is equal.
    pub(super) jain: f64,
    /// How long a request for 20 builds waits for its first slot behind a backlog of another organization, in median build times.
    pub(super) wait: f64,
}

/// Measures both, the second with a backlog of so many builds.
pub(super) fn measure(backlog: usize) -> Result<Shares> {
    Ok(Shares { jain: jain()?, wait: wait(backlog)? })
}

fn jain() -> Result<f64> {
    let sizes = [2000, 4000, 8000, 16_000];
    let shape = Shape::flat(sizes.iter().sum());
    let trace = trace(&shape, &sizes, 64, 0);
    let outcome = production::run(&trace, &trace.estimates(CONDITIONS, 1.0))?;
    // Until the last build of the first one to run out of work begins.
    let last = |evaluation: &Evaluation| evaluation.builds.iter().map(|&build| outcome.began[build as usize]).max().unwrap_or(0);
    let until = trace.evaluations.iter().map(last).min().unwrap_or(0);
    let got = trace.evaluations.iter().map(|evaluation| {
        let times = evaluation.builds.iter().map(|&build| {
            let began = outcome.began[build as usize];
            (began + trace.took[build as usize]).min(until).saturating_sub(began)
        });
        number(times.sum())
    });
    let got: Vec<f64> = got.collect();
    let sum: f64 = got.iter().sum();
    Ok(sum * sum / (number(u64::try_from(got.len())?) * got.iter().map(|got| got * got).sum::<f64>()))
}

fn wait(backlog: usize) -> Result<f64> {
    let shape = Shape::flat(backlog + 20);
    let trace = trace(&shape, &[backlog, 20], 128, 600_000);
    let outcome = production::run(&trace, &trace.estimates(CONDITIONS, 1.0))?;
    let mut took = trace.took.clone();
    took.sort_unstable();
    let request = &trace.evaluations[1];
    let began = request.builds.iter().map(|&build| outcome.began[build as usize]).min().unwrap_or(0);
    Ok(number(began - request.at) / number(took[took.len() / 2]))
}

const CONDITIONS: Conditions = Conditions { seed: 1, evaluations: 1, failing: 0, noise: 0.3 };

/// Organizations with so many builds each, the last of which comes later.
fn trace<'a>(shape: &'a Shape, sizes: &[usize], slots: u32, last_at: u64) -> Trace<'a> {
    let mut trace = Trace::new(shape, CONDITIONS);
    let mut rest = trace.evaluations.pop().map_or_else(Vec::new, |all| all.builds);
    for (&size, organization) in sizes.iter().zip(0..) {
        let later = rest.split_off(size);
        trace.evaluations.push(Evaluation { at: 0, organization, builds: std::mem::replace(&mut rest, later) });
    }
    if let Some(last) = trace.evaluations.last_mut() {
        last.at = last_at;
    }
    trace.fleet = vec![Machines { systems: vec!["x86_64-linux".to_owned()], features: Vec::new(), slots: 1, count: slots }];
    trace
}
