//! What is left in memory of evaluations that have ended.

use std::time::Duration;

use anyhow::{Result, ensure};
use gradient_scheduler::{Scheduler, SchedulerSettings, Tick};

use super::draws::Draws;
use super::production;
use super::shape::Plan;
use super::speed::fleet;
use super::trace::{Conditions, Trace};
use crate::bench::proc;

const BUILDS: usize = 5_500;
const FIRST: usize = 10;
const ALL: usize = 100;
/// Between the end of an evaluation and the next one.
const PAUSE: Duration = Duration::from_secs(10);

/// The process' memory while one scheduler has evaluation after evaluation.
#[derive(Debug)]
pub(super) struct Remains {
    after_first: u64,
    after_all: u64,
}

/// Each of the evaluations has the same builds, and all of them end before the next one comes.
pub(super) fn measure() -> Result<Remains> {
    let shape = Plan { builds: BUILDS, chained: 50, mixed: true, scarce: 10 }.generate(&mut Draws::new(1));
    let conditions = Conditions { seed: 1, evaluations: 1, failing: 0, noise: 0.3 };
    let mut trace = Trace::new(&shape, conditions);
    let expected = trace.estimates(conditions, 1.0);
    trace.fleet = fleet();
    let journal = production::record(&trace, &expected)?;
    let length = journal.last().map_or(Duration::ZERO, |(at, _)| at.since(Tick::ZERO));
    let (mut scheduler, mut begins, mut after_first) = (Scheduler::new(SchedulerSettings::default()), Duration::ZERO, 0);
    for round in 1..=ALL {
        for (at, events) in &journal {
            drop(scheduler.apply_all(events.iter().cloned(), at.plus(begins)));
        }
        ensure!(scheduler.job_count() == 0, "{} jobs are left of evaluation {round}", scheduler.job_count());
        begins += length + PAUSE;
        if round == FIRST {
            after_first = proc::rss(std::process::id())?;
        }
    }
    Ok(Remains { after_first, after_all: proc::rss(std::process::id())? })
}

impl Remains {
    /// One line of the report.
    pub(super) fn line(&self) -> String {
        let mib = |bytes: u64| bytes >> 20;
        format!(
            "after {FIRST} evaluations of {BUILDS} builds, one after the other, the process has {} MiB, after {ALL} of them {} MiB",
            mib(self.after_first),
            mib(self.after_all)
        )
    }
}
