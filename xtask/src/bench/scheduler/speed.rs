//! How fast the production scheduler decides about a large graph, and what memory it takes.

use std::time::{Duration, Instant};

use anyhow::Result;
use gradient_domain::{Epoch, EvaluationStatus, Priority};
use gradient_scheduler::{Event, NewEvaluation, Scheduler, SchedulerSettings, Stage, Tick};

use super::draws::Draws;
use super::fleet::Machines;
use super::production::{self, Journal, evaluation_id, new_build, organization};
use super::shape::{Plan, Shape};
use super::trace::{Conditions, Trace};
use crate::bench::{figures::number, proc};

/// How many builds an evaluation reports at once.
const BATCH: usize = 1000;

/// The figures of one graph.
#[derive(Debug)]
pub(super) struct Speed {
    pub(super) builds: usize,
    pub(super) edges: usize,
    pub(super) depth: usize,
    /// How long it takes to take the graph in.
    pub(super) adding: Duration,
    /// Not known when the process had memory left from before.
    pub(super) bytes_per_build: Option<f64>,
    pub(super) decisions_per_second: f64,
    /// What an event takes, and what one of a hundred takes at least.
    pub(super) event_p50: Duration,
    pub(super) event_p99: Duration,
}

const CONDITIONS: Conditions = Conditions { seed: 1, evaluations: 1, failing: 0, noise: 0.3 };

/// A graph of so many builds on 1,000 machines with 16 slots each.
pub(super) fn measure(builds: usize) -> Result<Speed> {
    let plan = Plan { builds, chained: 50, mixed: true, scarce: 10 };
    let shape = plan.generate(&mut Draws::new(1));
    let mut trace = Trace::new(&shape, CONDITIONS);
    let expected = trace.estimates(CONDITIONS, 1.0);
    let (adding, bytes) = add(&trace, &expected)?;
    trace.fleet = fleet();
    let journal = production::record(&trace, &expected)?;
    let (event_p50, event_p99) = time_events(journal.clone())?;
    let (decisions, deciding) = replay(journal)?;
    Ok(Speed {
        builds: shape.builds.len(),
        edges: shape.edges(),
        depth: shape.depth(),
        adding,
        bytes_per_build: (bytes > 0).then_some(number(bytes) / number(u64::try_from(builds)?)),
        decisions_per_second: number(decisions) / deciding.as_secs_f64(),
        event_p50,
        event_p99,
    })
}

/// Tells a scheduler all of it again: how many decisions follow from reports, and what processor time they take. What it takes to
/// take the graph in is not among it, nor what it takes to give back the memory of what was recorded.
fn replay(journal: Journal) -> Result<(u64, Duration)> {
    let (mut scheduler, mut reports) = begin(journal);
    let process = std::process::id();
    let before = proc::cpu_time(process)?;
    let mut decisions = 0;
    for (at, events) in &mut reports {
        decisions += scheduler.apply_all(events.drain(..), *at).len();
    }
    Ok((u64::try_from(decisions)?, proc::cpu_time(process)?.saturating_sub(before)))
}

/// The same once more, with a clock: what an event takes, of those that come at the same time each the same. The median, and what one
/// of a hundred takes at least.
fn time_events(journal: Journal) -> Result<(Duration, Duration)> {
    let (mut scheduler, mut reports) = begin(journal);
    let mut times = Vec::with_capacity(reports.len());
    for (at, events) in &mut reports {
        let (began, count) = (Instant::now(), events.len());
        drop(scheduler.apply_all(events.drain(..), *at));
        let each = began.elapsed() / u32::try_from(count)?.max(1);
        times.extend(std::iter::repeat_n(each, count));
    }
    times.sort_unstable();
    let at = |per_cent: usize| times.get(times.len() * per_cent / 100).copied().unwrap_or_default();
    Ok((at(50), at(99)))
}

/// A scheduler that knows the graph and the machines, and what it is told then.
fn begin(journal: Journal) -> (Scheduler, Journal) {
    let mut scheduler = Scheduler::new(SchedulerSettings::default());
    let (first, reports): (Journal, Journal) = journal.into_iter().partition(|(at, _)| *at == Tick::ZERO);
    for (at, events) in first {
        scheduler.apply_all(events, at);
    }
    (scheduler, reports)
}

/// Lets a scheduler know a graph: how long that takes, and how much more memory the process has.
fn add(trace: &Trace<'_>, expected: &[Duration]) -> Result<(Duration, u64)> {
    let process = std::process::id();
    let before = proc::rss(process)?;
    let mut scheduler = Scheduler::new(SchedulerSettings::default());
    let (evaluation, organization) = (evaluation_id(1), organization(0));
    let mut adding = Duration::ZERO;
    let mut apply = |event| {
        let began = Instant::now();
        scheduler.apply(event, Tick::ZERO);
        adding += began.elapsed();
    };
    apply(Event::EvaluationAdded(NewEvaluation {
        evaluation,
        organization,
        priority: Priority::default(),
        status: EvaluationStatus::Queued,
        stage: Stage::Build,
        job_epoch: Epoch::NONE,
        lease: None,
    }));
    let all: Vec<usize> = (0..trace.took.len()).collect();
    for batch in all.chunks(BATCH) {
        let builds = batch.iter().map(|&build| new_build(trace, expected, organization, build)).collect();
        apply(Event::BuildsAdded { evaluation, builds });
    }
    apply(Event::EvaluationSealed { evaluation, had_errors: false });
    Ok((adding, proc::rss(process)?.saturating_sub(before)))
}

/// 1,000 machines with 16 slots each.
pub(super) fn fleet() -> Vec<Machines> {
    let machines = |system: &str, features: &[&str], count| Machines {
        systems: vec![system.to_owned()],
        features: features.iter().map(|&feature| feature.to_owned()).collect(),
        slots: 16,
        count,
    };
    vec![
        machines("x86_64-linux", &[], 650),
        machines("aarch64-linux", &[], 250),
        machines("x86_64-linux", &["big-parallel"], 70),
        machines("x86_64-linux", &["big-parallel", "kvm"], 30),
    ]
}

impl Speed {
    /// One line of the report.
    pub(super) fn line(&self) -> String {
        let memory = self.bytes_per_build.map_or_else(String::new, |bytes| format!(", {bytes:.0} bytes a build"));
        format!(
            "{} builds, {} edges, {} deep: added in {:.2} s, {:.0} decisions/s, an event in {:.1} µs (p50), {:.1} µs (p99){memory}",
            self.builds,
            self.edges,
            self.depth,
            self.adding.as_secs_f64(),
            self.decisions_per_second,
            self.event_p50.as_secs_f64() * 1e6,
            self.event_p99.as_secs_f64() * 1e6,
        )
    }
}

/// Says what a graph is like.
pub(super) fn describe(shape: &Shape) -> String {
    format!("{} builds, {} edges, {} deep", shape.builds.len(), shape.edges(), shape.depth())
}
