//! `cargo xtask bench scheduler`: the production scheduler in simulated worlds, where time and chance are the same each time. It does
//! what it does in the server, from the same events; only nothing is built.

mod baselines;
mod bounds;
mod cases;
pub(super) mod draws;
mod exact;
mod fleet;
mod greedy;
mod idle;
mod production;
mod remains;
mod report;
pub(super) mod shape;
mod shares;
mod small;
mod speed;
#[cfg(test)]
mod tests;
mod trace;
mod transfers;

use std::path::PathBuf;
use std::thread;

use anyhow::{Result, anyhow};

use self::cases::Scored;
use self::report::Report;
use self::shape::Shape;
use crate::interrupt;

/// What `cargo xtask bench scheduler` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many traces.
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    seeds: u64,
    /// Take this graph for all traces, instead of a generated one for each; docs/benchmarks.md tells the format.
    #[arg(long, value_name = "FILE")]
    graph: Option<PathBuf>,
    /// Graphs of so many builds are made to measure speed and memory; the figures of the last one, the largest, count.
    #[arg(long, value_name = "BUILDS", value_delimiter = ',', default_values_t = [55_000, 300_000])]
    sizes: Vec<usize>,
    /// Print the figures that matter as JSON, and everything else on standard error.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<()> {
    interrupt::watch()?;
    // Memory first: what others leave behind would be used again and not be seen.
    let mut speeds = Vec::new();
    for &size in options.sizes.iter().rev() {
        speeds.insert(0, speed::measure(size)?);
    }
    let remains = remains::measure()?;
    let graph = options.graph.as_deref().map(Shape::read).transpose()?;
    if let Some(graph) = &graph {
        eprintln!("the graph: {}", speed::describe(graph));
    }
    let report = Report {
        scored: score_all(options.seeds, graph.as_ref())?,
        small: small::measure(options.seeds)?,
        shares: shares::measure(150_000)?,
        speeds,
        remains,
    };
    eprintln!("{}", report.text());
    if options.json {
        println!("{}", report.json());
    }
    Ok(())
}

/// Every trace, on all processors; the results are in the order of the seeds.
fn score_all(seeds: u64, graph: Option<&Shape>) -> Result<Vec<Scored>> {
    let threads = u64::try_from(thread::available_parallelism()?.get())?;
    let some = |first| {
        let scored = (first..seeds).step_by(usize::try_from(threads)?).map(|seed| {
            interrupt::check()?;
            Ok((seed, cases::score(seed, graph)?))
        });
        scored.collect::<Result<Vec<_>>>()
    };
    let mut scored = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(move || some(first))).collect();
        let mut all = Vec::new();
        for thread in running {
            all.extend(thread.join().map_err(|_| anyhow!("a simulation panicked"))??);
        }
        Ok::<_, anyhow::Error>(all)
    })?;
    scored.sort_by_key(|(seed, _)| *seed);
    Ok(scored.into_iter().map(|(_, scored)| scored).collect())
}
