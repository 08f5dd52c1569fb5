//! `cargo xtask test`: every check and every test, on a machine that has only Rust and git.

mod counts;
pub(crate) mod postgres;
mod steps;

use std::process::Command;

use anyhow::{Result, bail};

use crate::prerequisites::packages::Packages;
use crate::prerequisites::{self, BUSYBOX, GIT, NIX, POSTGRES, SSHD};
use crate::workspace::cargo;
use crate::{arrows, contract, faults, interrupt, openapi, tidy, workspace};
use postgres::Postgres;
use steps::Steps;

/// What `cargo xtask test` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only tests whose name contains one of these, and no other checks.
    filters: Vec<String>,
}

/// Runs everything, goes on after a failed step, and fails at the end when there was one.
pub(crate) fn run(options: &Options) -> Result<()> {
    interrupt::watch()?;
    let mut steps = Steps::default();
    steps.required("prerequisites", || prerequisites::ensure(&[&GIT, &NIX, &POSTGRES, &BUSYBOX, &SSHD]))?;
    let packages = steps.required("packages from PyPI, npm and crates.io", Packages::ensure)?;
    if options.filters.is_empty() {
        checks(&mut steps)?;
    }
    steps.command("build", cargo(&["build", "--workspace", "--bins", "--tests"]))?;
    if options.filters.is_empty() {
        steps.check("description of the API", || openapi::check(&workspace::debug_programs()?.server))?;
    }
    let postgres = Postgres::start()?;
    let mut tests = tests(&options.filters);
    postgres.offer_to(&mut tests);
    packages.offer_to(&mut tests);
    steps.command("tests", tests)?;
    drop(postgres);
    if options.filters.is_empty() {
        let contract = contract::Options::repeatable();
        steps.check("answers against the description of the API", || {
            contract::check(&contract, &packages, &workspace::debug_programs()?)
        })?;
        steps.check("faults", || faults::run(&faults::Options::short(workspace::debug_programs()?)))?;
        steps.command("examples in the documentation", cargo(&["test", "--doc", "--workspace", "--no-fail-fast"]))?;
    }
    steps.finish()
}

/// What needs no running program.
fn checks(steps: &mut Steps) -> Result<()> {
    steps.command("format", cargo(&["fmt", "--all", "--check"]))?;
    steps.check("arrows", arrows::run)?;
    steps.check("tidy", tidy::run)?;
    steps.check("nix files", nix_files_parse)?;
    steps.command("clippy", cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    steps.command("documentation", doc)
}

/// The tests by nextest where it is installed, which gives every test a process of its own; else by cargo.
fn tests(filters: &[String]) -> Command {
    if !prerequisites::on_path("cargo-nextest") {
        println!("cargo-nextest is not installed (cargo install cargo-nextest --locked); going on with cargo test");
        let mut command = cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast", "--"]);
        command.args(filters);
        return command;
    }
    let mut command = cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "--color", "never"]);
    // Many tests wait for something, mostly for the database, and leave their processor to another one.
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    command.arg("--test-threads").arg((processors + processors.div_ceil(2)).to_string());
    command.args(["--status-level", "slow", "--final-status-level", "fail"]).args(filters);
    command
}

/// Every `.nix` file of the project is Nix; those inside crates are templates, which the crates' own tests fill in.
fn nix_files_parse() -> Result<()> {
    let shell = workspace::shell()?;
    let mut faults = Vec::new();
    for path in
        workspace::files(&shell)?.iter().filter(|path| workspace::has_extension(path, "nix") && !path.starts_with("crates/"))
    {
        let output = Command::new("nix-instantiate").arg("--parse").arg(workspace::root().join(path)).output()?;
        if !output.status.success() {
            faults.push(format!("{path}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
    }
    if let Some(fault) = faults.first() {
        bail!("{} of the Nix files do not parse; the first: {fault}", faults.len());
    }
    Ok(())
}
