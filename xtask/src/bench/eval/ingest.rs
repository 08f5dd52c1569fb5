//! How fast the server takes in derivations that are there already, and how fast it has the graph of their builds again when it starts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gradient_domain::JobKind;
use gradient_test_support::deployment::{CacheVisibility, Evaluation, FlakeRepository, Installation, Programs, answer};
use serde_json::Value;

use crate::bench::database::{Database, Throwaway};
use crate::bench::graph;
use crate::bench::proc;
use crate::bench::stub_worker::{Plan, Progress, StubWorker};

const PROJECT: &str = "packages";

/// How long the server may take.
const LIMIT: Duration = Duration::from_mins(30);

/// How long it has to end.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How fast it was.
#[derive(Debug)]
pub(super) struct Ingested {
    /// From the trigger until the last derivation is acknowledged.
    pub(super) time: Duration,
    /// How many inputs all derivations have together.
    pub(super) edges: usize,
    pub(super) restarted: Restarted,
}

/// A server that starts on a database with all of that.
#[derive(Debug)]
pub(super) struct Restarted {
    /// From the start of the program until it says of a build why that waits: its scheduler knows all of them then.
    pub(super) time: Duration,
    /// The memory that it has then, in bytes, and the most that it had on the way.
    pub(super) resident: u64,
    pub(super) peak: u64,
}

/// Gives a new server so many derivations through the worker protocol.
pub(super) fn run(programs: &Programs, database: Database, derivations: usize) -> Result<Ingested> {
    let throwaway = Throwaway::create(database)?;
    let folder = tempfile::Builder::new().prefix("gradient-bench-").tempdir()?;
    let mut installation = Installation::start(programs, folder.path(), throwaway.url())?;
    installation.register_user()?;
    installation.create_organization(CacheVisibility::Public)?;
    let repository = FlakeRepository::create(&folder.path().join("repository"))?;
    installation.create_project(PROJECT, &repository.url(), "packages.x86_64-linux.#")?;
    let address = installation.server().url().trim_start_matches("http://").to_owned();
    let worker_id = installation.register_worker()?.to_owned();
    let token = installation.worker_token().context("the worker has no token")?.to_owned();
    let graph = graph::generate(derivations)?;
    let edges = graph.edges;
    let worker = StubWorker::start(Plan { address, worker_id, token, kinds: JobKind::ALL.to_vec(), graph, builds: 0 })?;
    let started = Instant::now();
    let evaluation = installation.evaluate(PROJECT)?;
    worker.wait_for(&Progress::Evaluated, LIMIT)?;
    let time = started.elapsed();
    drop(worker);
    let restarted = restart(&mut installation, &evaluation)?;
    installation.stop()?;
    Ok(Ingested { time, edges, restarted })
}

fn restart(installation: &mut Installation, evaluation: &Evaluation) -> Result<Restarted> {
    let page = installation.api().get(&format!("/evals/{}/builds?status=Queued&limit=1", evaluation.id()))?;
    let build = page.pointer("/builds/0").context("no build is queued")?;
    let why = format!("/builds/{}/why", answer::field(build, "id")?);
    installation.server().process().stop(STOP_LIMIT)?;
    let started = Instant::now();
    installation.server().start_again()?;
    while installation.api().get(&why)?.get("waiting_reason").is_none_or(Value::is_null) {
        if started.elapsed() > LIMIT {
            bail!("the scheduler does not know of the build");
        }
    }
    let time = started.elapsed();
    let server = installation.server().process().id();
    Ok(Restarted { time, resident: proc::rss(server)?, peak: proc::peak_rss(server)? })
}
