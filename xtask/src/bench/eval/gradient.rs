//! What server and worker take for it.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::{CacheVisibility, Evaluation, Installation, NixInstall, Programs};

use super::flake::{Flake, SET};
use super::usage::{Usage, Watch};
use crate::bench::proc;
use crate::interrupt;

const PROJECT: &str = "packages";

/// How long a machine may take for one evaluation.
const LIMIT: Duration = Duration::from_mins(15);

/// How often the server is asked whether there is a build, and then how many; counting them costs it more.
const PAUSE: Duration = Duration::from_millis(25);
const LATER_PAUSE: Duration = Duration::from_millis(250);

/// What it took until all derivations were stored and queued.
#[derive(Debug)]
pub(super) struct Evaluated {
    /// Of the worker and its evaluators.
    pub(super) usage: Usage,
    /// The server's processor time.
    pub(super) server: Duration,
    /// From the trigger to the first queued build.
    pub(super) first_build: Duration,
    /// The same evaluation once more.
    pub(super) second_run: Duration,
}

/// Evaluates it with a new server, and a worker that builds nothing, on the machine's own store.
pub(super) fn evaluate(programs: &Programs, flake: &Flake, processes: u32) -> Result<Evaluated> {
    let folder = tempfile::Builder::new().prefix("gradient-bench-").tempdir()?;
    let mut installation = Installation::start(programs, folder.path(), None)?;
    let measured = measure(&mut installation, flake, processes, folder.path());
    if measured.is_err() {
        eprintln!("{}", installation.log_tails());
    }
    let evaluated = measured?;
    installation.stop()?;
    Ok(evaluated)
}

fn measure(installation: &mut Installation, flake: &Flake, processes: u32, folder: &Path) -> Result<Evaluated> {
    installation.register_user()?;
    installation.create_organization(CacheVisibility::Public)?;
    let url = flake.create(&folder.join("repository"))?;
    installation.create_project(PROJECT, &url, &format!("{SET}.#"))?;
    installation.register_worker()?;
    let environment = vec![
        ("GRADIENT_WORKER_CAPABILITIES_BUILD", "false".to_owned()),
        ("GRADIENT_WORKER_EVAL_PROCESSES", processes.to_string()),
    ];
    installation.start_worker_with(&NixInstall::of_the_system(), environment)?;
    let server = installation.server().process().id();
    let worker = installation.worker().context("there is no worker")?.process().id();

    let (server_before, worker_before) = (proc::cpu_time(server)?, proc::cpu_time_with_children(worker)?);
    let watch = Watch::start(worker);
    let started = Instant::now();
    let evaluation = installation.evaluate(PROJECT)?;
    let first_build = wait(&evaluation, started, PAUSE, |builds, _| builds > 0)?;
    let wall = wait_for_all(&evaluation, flake, started)?;
    let usage = Usage { wall, cpu: proc::cpu_time_with_children(worker)?.saturating_sub(worker_before), peak: watch.peak() };
    let server = proc::cpu_time(server)?.saturating_sub(server_before);

    let started = Instant::now();
    let second_run = wait_for_all(&installation.evaluate(PROJECT)?, flake, started)?;
    Ok(Evaluated { usage, server, first_build, second_run })
}

/// Waits until nothing is evaluated any more, and all derivations have a build.
fn wait_for_all(evaluation: &Evaluation, flake: &Flake, started: Instant) -> Result<Duration> {
    let wanted = u64::try_from(flake.derivations())?;
    wait(evaluation, started, LATER_PAUSE, |builds, status| builds == wanted && matches!(status, "Waiting" | "Building"))
}

fn wait(evaluation: &Evaluation, started: Instant, pause: Duration, enough: impl Fn(u64, &str) -> bool) -> Result<Duration> {
    loop {
        interrupt::check()?;
        let now = evaluation.get()?;
        let builds = now.pointer("/builds/total").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let status = now.get("status").and_then(serde_json::Value::as_str).unwrap_or_default();
        if enough(builds, status) {
            return Ok(started.elapsed());
        }
        if matches!(status, "Completed" | "Failed" | "Aborted") || started.elapsed() > LIMIT {
            bail!("the evaluation is {status} with {builds} builds: {:?}", evaluation.messages()?);
        }
        thread::sleep(pause);
    }
}
