//! One run: an evaluation, what is thrown at it, and what must be true at the end.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use gradient_test_support::deployment::{Evaluation, Programs, wait};
use serde_json::Value;

use super::invariants::{self, Ended};
use super::plan::{Fault, Plan, Repeats};
use super::site::Site;
use super::strike::strike;
use crate::bench::database::Database;
use crate::interrupt;

/// How long it may take until there is progress again. A side that hears nothing notices after a minute.
const RESUME_LIMIT: Duration = Duration::from_mins(3);

/// How long the rest may take then; less than a lease, so that nobody gets away with waiting for its end.
const END_LIMIT: Duration = Duration::from_mins(3);

/// How long the end of a job may take to reach everybody.
const SETTLED: Duration = Duration::from_secs(15);

/// What became of a run.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) ended: Ended,
    /// What is wrong, as sentences.
    pub(super) wrong: Vec<String>,
    pub(super) lost: usize,
    /// The longest time from the end of a fault to the next progress.
    pub(super) resumed: Option<Duration>,
}

/// A run without faults.
pub(super) fn undisturbed(programs: &Programs, database: Database, folder: &Path) -> Result<Outcome> {
    let mut site = Site::start(programs, database, None, 0, folder)?;
    let mut outcome = Outcome::default();
    let evaluation = site.evaluate()?;
    evaluation.wait_for_end(END_LIMIT)?;
    finish(&mut site, &evaluation, Repeats::None, 0, &mut outcome)?;
    Ok(outcome)
}

/// A run with faults, which has to end as the one without.
pub(super) fn disturbed(programs: &Programs, plan: &Plan, expected: &Ended, folder: &Path) -> Result<Outcome> {
    let mut site = Site::start(programs, plan.database, Some(plan.fault), plan.seed, folder)?;
    let mut outcome = Outcome::default();
    let mut evaluation = site.evaluate()?;
    for each in &plan.strikes {
        interrupt::check()?;
        std::thread::sleep(each.after);
        let session = session(&site);
        let over = strike(&mut site, &evaluation, plan.fault, each)?;
        // Another server may lead by now.
        evaluation = evaluation.through(site.installation.api());
        // As long as the connection is there that nothing comes through, what goes on is only what had begun.
        let dead = if plan.fault == Fault::Silent { session } else { None };
        outcome.resumed = outcome.resumed.max(Some(resumed(&mut site, &evaluation, over, dead.as_ref())?));
    }
    evaluation.wait_for_end(END_LIMIT)?;
    finish(&mut site, &evaluation, plan.fault.repeats(), plan.strikes.len(), &mut outcome)?;
    let lost = outcome.ended.lost(expected);
    outcome.lost = lost.len();
    outcome.wrong.extend(lost);
    if (&outcome.ended.status, outcome.ended.builds.len()) != (&expected.status, expected.builds.len()) {
        outcome.wrong.push(format!("the evaluation is {} with {} builds", outcome.ended.status, outcome.ended.builds.len()));
    }
    Ok(outcome)
}

/// When the worker's present session began.
fn session(site: &Site) -> Option<Value> {
    site.installation.live_worker().ok().flatten()?.get("connected_at").cloned()
}

/// Waits until a build or the evaluation goes on, over another session than the dead one, and says how long that took.
fn resumed(site: &mut Site, evaluation: &Evaluation, over: Instant, dead: Option<&Value>) -> Result<Duration> {
    let mut before: Option<Value> = None;
    wait::until("progress after the fault", RESUME_LIMIT, || {
        site.installation.expect_running()?;
        // The server may need a moment before it answers.
        let Ok(object) = evaluation.get() else { return anyhow::Ok(None) };
        let state = |field: &str| object.pointer(field).cloned().unwrap_or_default();
        let now = Value::from(vec![state("/status"), state("/builds/by_status")]);
        let has_ended = matches!(state("/status").as_str(), Some("Completed" | "Failed" | "Aborted"));
        let goes_on = before.as_ref().is_some_and(|before| *before != now);
        before.get_or_insert(now);
        let session = session(site);
        let is_connected = session.is_some() && session.as_ref() != dead;
        Ok((is_connected && (has_ended || goes_on)).then(|| over.elapsed()))
    })
}

/// Looks at everything, ends the programs, and looks at what they leave.
fn finish(site: &mut Site, evaluation: &Evaluation, repeats: Repeats, strikes: usize, outcome: &mut Outcome) -> Result<()> {
    let idle = wait::until("the worker to have nothing to do", SETTLED, || {
        let live = site.installation.live_worker()?;
        let jobs = live.and_then(|live| live.get("assigned_job_count").and_then(Value::as_u64));
        anyhow::Ok((jobs == Some(0)).then_some(()))
    });
    if let Err(error) = idle {
        outcome.wrong.push(format!("{error:#}"));
    }
    outcome.ended = invariants::look(site, evaluation, repeats, strikes, &mut outcome.wrong)?;
    for ended in site.end_programs() {
        outcome.wrong.extend(ended.err().map(|error| format!("{error:#}")));
    }
    invariants::leftovers(site, &mut outcome.wrong)
}
