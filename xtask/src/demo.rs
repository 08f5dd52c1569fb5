//! `cargo xtask demo`: one flake goes the whole way, from a git repository to a signed closure that a real Nix client runs.

mod evaluation;
mod installation;
mod substitution;
mod timing;

use std::path::Path;

use anyhow::{Context, Result};
use gradient_test_support::deployment::{FlakeRepository, NixInstall, this_system};
use tempfile::TempDir;

use crate::prerequisites::{self, GIT, NIX};
use crate::{interrupt, workspace};
use installation::Installation;
use timing::Timing;

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
    let mut installation =
        timing.step("Starting gradient-server", || Installation::start(&programs, folder.path(), options.postgres.as_deref()))?;
    let result = walk(&mut timing, &mut installation, folder.path());
    match result {
        Ok(()) => {
            timing.print();
            finish(options, installation, folder)
        }
        Err(error) => {
            installation.print_logs();
            Err(error)
        }
    }
}

fn walk(timing: &mut Timing, installation: &mut Installation, folder: &Path) -> Result<()> {
    let nix = NixInstall::of_the_system();
    let repository = FlakeRepository::create(&folder.join("repository"))?;
    println!("  a flake in a git repository: {}", repository.url());
    timing.step("Registering user, organization, cache, worker and project", || {
        installation.set_up(&repository.url(), &format!("packages.{}.#", this_system()))
    })?;
    timing.step("Starting gradient-worker", || installation.start_worker(&nix))?;
    let evaluation = timing.step("Fetching, evaluating and building", || evaluation::run_and_show(installation))?;
    let outputs = evaluation.outputs(installation)?;
    timing
        .step("Substituting into an empty Nix store", || substitution::run(installation, &nix, &folder.join("client"), &outputs))
}

fn finish(options: &Options, installation: Installation, folder: TempDir) -> Result<()> {
    let url = installation.server_url().to_owned();
    if !options.keep {
        installation.stop().context("stopping server and worker")?;
        println!("\nThe server listened at {url}; everything is stopped and removed (--keep leaves it running).");
        return Ok(());
    }
    let credentials = installation.credentials();
    let processes = installation.leave_running();
    println!("\nThe server listens at {url}; sign in as {credentials}.");
    println!("Its files are in {}.", folder.keep().display());
    println!("Stop it with: kill {processes}");
    Ok(())
}
