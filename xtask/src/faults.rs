//! `cargo xtask faults`: real processes, faults out of a seed thrown at a running evaluation, and what must be true afterwards.

mod disk;
mod frames;
mod intruder;
mod invariants;
mod leaders;
mod own_store;
mod plan;
mod proxy;
mod report;
mod run;
mod site;
mod strike;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::Programs;

use crate::bench::database::Database;
use crate::prerequisites::{self, GIT, NIX, POSTGRES};
use crate::{interrupt, workspace};
use invariants::Ended;
use plan::Plan;
use report::{Figures, Report};

/// What `cargo xtask faults` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many runs, each with another seed or database; without it the short list, which takes a few minutes.
    #[arg(long, value_name = "COUNT")]
    runs: Option<usize>,
    /// The first seed; without `--runs` the only one.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// On which database.
    #[arg(long, default_value = "both")]
    database: Databases,
    /// Use this gradient-server instead of building one; `gradient-worker` is beside it.
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Print the sums as JSON, and everything else on standard error.
    #[arg(long)]
    json: bool,
}

/// A database, or each.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Databases {
    Sqlite,
    Postgres,
    Both,
}

impl Options {
    /// The short list, with these programs.
    pub(crate) fn short(programs: Programs) -> Self {
        Self { runs: None, seed: None, database: Databases::Both, server: Some(programs.server), json: false }
    }

    fn plans(&self) -> Vec<Plan> {
        let only = match self.database {
            Databases::Sqlite => Some(Database::Sqlite),
            Databases::Postgres => Some(Database::Postgres),
            Databases::Both => None,
        };
        let databases: Vec<Database> = Database::chosen(only).collect();
        match (self.runs, self.seed) {
            (None, None) => Plan::short_list(&databases),
            (None, Some(seed)) => databases.iter().filter_map(|database| Plan::of(seed, *database)).collect(),
            (Some(runs), seed) => Plan::list(seed.unwrap_or(0), runs, &databases),
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    interrupt::watch()?;
    prerequisites::ensure(&[&GIT, &NIX, &POSTGRES])?;
    prerequisites::ensure_store_is_writable()?;
    let programs = workspace::release_programs(options.server.as_deref())?;
    let plans = options.plans();
    let database = plans.first().context("this fault cannot happen on this database")?.database;
    let expected = undisturbed(&programs, database)?;
    let mut report = Report::default();
    for plan in &plans {
        interrupt::check()?;
        if let Some(obstacle) = site::obstacle(plan.fault) {
            eprintln!("seed {}: {}: skipped: {obstacle}", plan.seed, plan.fault.name());
            continue;
        }
        report.add(plan.fault, disturbed(&programs, plan, &expected)?);
    }
    eprintln!("\n{}", report.table());
    if options.json {
        println!("{}", report.json());
    }
    match report.broken() {
        0 => Ok(()),
        broken => bail!("{broken} runs are broken"),
    }
}

fn undisturbed(programs: &Programs, database: Database) -> Result<Ended> {
    let folder = tempfile::Builder::new().prefix("gradient-faults-").tempdir()?;
    let began = Instant::now();
    let outcome = run::undisturbed(programs, database, folder.path())?;
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("no fault on {}: {} builds, {seconds:.1} s", database.name(), outcome.ended.builds.len());
    if outcome.wrong.is_empty() {
        return Ok(outcome.ended);
    }
    bail!("without any fault: {}\nlogs and files are in {}", outcome.wrong.join("\n"), folder.keep().display())
}

/// Does one run and says what came of it. What is broken leaves its folder.
fn disturbed(programs: &Programs, plan: &Plan, expected: &Ended) -> Result<Figures> {
    let folder = tempfile::Builder::new().prefix("gradient-faults-").tempdir()?;
    let began = Instant::now();
    let outcome = run::disturbed(programs, plan, expected, folder.path())
        .unwrap_or_else(|error| run::Outcome { wrong: vec![format!("{error:#}")], ..run::Outcome::default() });
    interrupt::check()?;
    let figures = Figures {
        is_broken: !outcome.wrong.is_empty(),
        lost: outcome.lost,
        repeated: outcome.ended.repeated,
        resumed: outcome.resumed,
    };
    let (seed, database, fault) = (plan.seed, plan.database.name(), plan.fault.name());
    let resumed = figures.resumed.map_or_else(String::new, |time| format!(", resumed after {:.1} s", time.as_secs_f64()));
    let (strikes, repeated, seconds) = (plan.strikes.len(), figures.repeated, began.elapsed().as_secs_f64());
    let state = if figures.is_broken { "BROKEN" } else { "ok" };
    eprintln!("seed {seed} on {database}: {fault}, {strikes} times: {state}, {repeated} builds again{resumed}, {seconds:.1} s");
    if figures.is_broken {
        for sentence in &outcome.wrong {
            eprintln!("  {sentence}");
        }
        eprintln!("  logs and files are in {}", folder.keep().display());
        eprintln!("  again: cargo xtask faults --seed {seed} --database {database}");
    }
    Ok(figures)
}
