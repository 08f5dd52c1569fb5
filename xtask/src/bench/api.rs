//! `cargo xtask bench api`: one evaluation of many builds, made through the worker protocol, and how fast the REST API reads it.

mod endpoints;
mod report;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gradient_domain::JobKind;
use gradient_test_support::deployment::{CacheVisibility, Evaluation, FlakeRepository, Installation, answer, wait};
use serde_json::json;

use super::database::{Database, Throwaway};
use super::graph::{self, Graph};
use super::load::{self, Measured, Target};
use super::proc;
use super::stub_worker::{Plan, Progress, StubWorker};
use crate::prerequisites::{self, GIT, POSTGRES};
use crate::{interrupt, workspace};

/// What `cargo xtask bench api` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many builds the evaluation has.
    #[arg(long, value_name = "COUNT", default_value_t = 30_000)]
    builds: usize,
    /// How many of them are completed.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    completed: usize,
    /// How many connections ask at the same time.
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    connections: usize,
    /// How long each endpoint is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
    /// Only on this database.
    #[arg(long)]
    database: Option<Database>,
    /// Measure this gradient-server instead of building one.
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Print the 99th percentiles as JSON, and everything else on standard error.
    #[arg(long)]
    json: bool,
}

/// What was measured on one database.
struct Results {
    database: Database,
    /// How long the server took to take in all derivations.
    taking_in: Duration,
    endpoints: Vec<(&'static str, Measured)>,
    peak_rss: u64,
}

/// How long the server may take to take everything in.
const LIMIT: Duration = Duration::from_mins(10);

pub(super) fn run(options: &Options) -> Result<()> {
    interrupt::watch()?;
    prerequisites::ensure(&[&GIT, &POSTGRES])?;
    let programs = workspace::release_programs(options.server.as_deref())?;
    let mut all = Vec::new();
    for database in Database::chosen(options.database) {
        let throwaway = Throwaway::create(database)?;
        let folder = tempfile::Builder::new().prefix("gradient-bench-").tempdir()?;
        let mut installation = Installation::start(&programs, folder.path(), throwaway.url())?;
        let measured = measure(&mut installation, folder.path(), database, options);
        if measured.is_err() {
            eprintln!("{}", installation.log_tails());
        }
        let results = measured.with_context(|| format!("on {}", database.name()))?;
        eprintln!("{}", report::table(&results, options));
        installation.stop()?;
        all.push(results);
    }
    if options.json {
        println!("{}", report::json(&all));
    }
    Ok(())
}

fn measure(installation: &mut Installation, folder: &Path, database: Database, options: &Options) -> Result<Results> {
    let address = installation.server().url().trim_start_matches("http://").to_owned();
    let process = installation.server().process().id();
    eprintln!("{}: making an evaluation of {} builds", database.name(), options.builds);
    let project = set_up(installation, folder)?;
    let worker_id = installation.register_worker()?.to_owned();
    let token = installation.worker_token().context("the worker has no token")?.to_owned();
    let graph: Graph = graph::generate(options.builds)?;
    let plan =
        Plan { address: address.clone(), worker_id, token, kinds: JobKind::ALL.to_vec(), graph, builds: options.completed };
    // Connected until the end: the builds that it has stay its own, and the evaluation goes on.
    let worker = StubWorker::start(plan)?;
    let started = Instant::now();
    let evaluation = installation.evaluate(project)?;
    worker.wait_for(&Progress::Evaluated, LIMIT)?;
    let taking_in = started.elapsed();
    if options.completed > 0 {
        worker.wait_for(&Progress::Built, LIMIT)?;
    }
    wait_until_counted(&evaluation, options)?;

    let key = installation.api().post("/user/keys", &json!({"name": "bench", "permissions": ["viewOrg"]}))?;
    let target = Target {
        address,
        token: answer::text(&key)?.to_owned(),
        process,
        connections: options.connections,
        duration: Duration::from_secs(options.seconds),
    };
    let mut endpoints = Vec::new();
    for (name, paths) in endpoints::all(installation.api(), project, &evaluation, options.builds)? {
        interrupt::check()?;
        endpoints.push((name, load::measure(&target, &paths).with_context(|| name.to_owned())?));
    }
    Ok(Results { database, taking_in, endpoints, peak_rss: proc::peak_rss(process)? })
}

/// The name of the project.
fn set_up(installation: &mut Installation, folder: &Path) -> Result<&'static str> {
    const PROJECT: &str = "packages";
    installation.register_user()?;
    installation.create_organization(CacheVisibility::Public)?;
    let repository = FlakeRepository::create(&folder.join("repository"))?;
    installation.create_project(PROJECT, &repository.url(), "packages.x86_64-linux.#")?;
    Ok(PROJECT)
}

/// Waits until the evaluation says that all its builds are there, and so many completed.
fn wait_until_counted(evaluation: &Evaluation, options: &Options) -> Result<()> {
    wait::until("the evaluation to have counted its builds", LIMIT, || {
        let builds = evaluation.get()?["builds"].clone();
        let completed = builds.pointer("/by_status/Completed").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let counted = builds["total"] == json!(options.builds) && completed >= u64::try_from(options.completed)?;
        anyhow::Ok(counted.then_some(()))
    })
}
