//! `cargo xtask demo`: one flake goes the whole way, from a git repository to a signed closure that a real Nix client runs.

mod evaluation;
mod substitution;
mod timing;

use std::path::Path;

use anyhow::{Context, Result};
use gradient_test_support::deployment::{CacheVisibility, FlakeRepository, Installation, NixInstall, Programs, this_system};
use tempfile::TempDir;

use crate::prerequisites::{self, GIT, NIX};
use crate::{interrupt, workspace};
use timing::Timing;

/// The name of the project.
const PROJECT: &str = "examples";

/// What `cargo xtask demo` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave server and worker running at the end.
    #[arg(long)]
    keep: bool,
    /// Use this empty PostgreSQL database in place of the embedded SQLite.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
}

/// Runs it; whatever was started is stopped again, also after a failure or Ctrl-C.
pub(crate) fn run(options: &Options) -> Result<()> {
    interrupt::watch()?;
    let mut timing = Timing::default();
    timing.step("Looking for what it needs", || prerequisites::ensure(&[&GIT, &NIX]))?;
    prerequisites::ensure_store_is_writable()?;
    let programs = timing.step("Building server and worker", workspace::build_programs)?;

    let folder = tempfile::Builder::new().prefix("gradient-demo-").tempdir()?;
    let mut installation = timing.step("Starting gradient-server", || start(&programs, folder.path(), options))?;
    let result = walk(&mut timing, &mut installation, folder.path());
    if let Err(error) = result {
        println!("\n{}", installation.log_tails());
        return Err(error);
    }
    timing.print();
    finish(options, installation, folder)
}

fn start(programs: &Programs, folder: &Path, options: &Options) -> Result<Installation> {
    let mut installation = Installation::start_limited(programs, folder, options.postgres.as_deref())?;
    let database = if options.postgres.is_some() { "PostgreSQL" } else { "embedded SQLite" };
    println!("  listening at {}, on {database} and a directory", installation.server().url());
    Ok(installation)
}

fn walk(timing: &mut Timing, installation: &mut Installation, folder: &Path) -> Result<()> {
    let nix = NixInstall::of_the_system();
    let repository = FlakeRepository::create(&folder.join("repository"))?;
    timing.step("Registering user, organization, cache, worker and project", || set_up(installation, &repository))?;
    timing.step("Starting gradient-worker", || {
        let live = installation.start_worker(&nix)?;
        println!("  connected: {} builds at a time for {}", live["max_concurrent_builds"], live["architectures"]);
        Ok(())
    })?;
    let evaluation = timing.step("Fetching, evaluating and building", || evaluation::run_and_show(installation))?;
    let outputs = evaluation.outputs()?;
    timing
        .step("Substituting into an empty Nix store", || substitution::run(installation, &nix, &folder.join("client"), &outputs))
}

fn set_up(installation: &mut Installation, repository: &FlakeRepository) -> Result<()> {
    installation.register_user()?;
    println!("  user {}", Installation::USER);
    installation.create_organization(CacheVisibility::Public)?;
    println!("  organization {}, which publishes to the cache {}", Installation::ORGANIZATION, Installation::CACHE);
    println!("  worker {}", installation.register_worker()?);
    let wildcard = format!("packages.{}.#", this_system());
    installation.create_project(PROJECT, &repository.url(), &wildcard)?;
    println!("  project {PROJECT}: {wildcard} of the flake at {}", repository.url());
    Ok(())
}

fn finish(options: &Options, mut installation: Installation, folder: TempDir) -> Result<()> {
    let url = installation.server().url().to_owned();
    if !options.keep {
        installation.stop().context("stopping server and worker")?;
        println!("\nThe server listened at {url}; everything is stopped and removed (--keep leaves it running).");
        return Ok(());
    }
    println!("\nThe server listens at {url}; sign in as {} with {}.", Installation::USER, installation.password());
    println!("Its files are in {}.", folder.keep().display());
    let processes: Vec<String> = installation.leave_running().iter().map(ToString::to_string).collect();
    println!("Stop it with: kill {}", processes.join(" "));
    Ok(())
}
