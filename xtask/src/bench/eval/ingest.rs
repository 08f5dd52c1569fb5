//! How fast the server takes in derivations that are there already.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gradient_domain::JobKind;
use gradient_test_support::deployment::{CacheVisibility, FlakeRepository, Installation, Programs};

use crate::bench::database::{Database, Throwaway};
use crate::bench::graph;
use crate::bench::stub_worker::{Plan, Progress, StubWorker};

const PROJECT: &str = "packages";

/// How long the server may take.
const LIMIT: Duration = Duration::from_mins(10);

/// How fast it was.
#[derive(Debug)]
pub(super) struct Ingested {
    /// From the trigger until the last derivation is acknowledged.
    pub(super) time: Duration,
    /// How many inputs all derivations have together.
    pub(super) edges: usize,
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
    installation.evaluate(PROJECT)?;
    worker.wait_for(&Progress::Evaluated, LIMIT)?;
    let time = started.elapsed();
    drop(worker);
    installation.stop()?;
    Ok(Ingested { time, edges })
}
