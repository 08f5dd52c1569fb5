//! `cargo xtask bench eval`: a flake with many packages through server and worker, until all derivations are stored and queued,
//! beside one plain `nix eval` of the same.

mod flake;
mod gradient;
mod ingest;
mod nix;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use gradient_test_support::deployment::Programs;
use serde_json::json;

use self::flake::Flake;
use self::gradient::Evaluated;
use self::ingest::Ingested;
use self::usage::Usage;
use super::database::Database;
use super::figures::{median, mib};
use crate::prerequisites::{self, GIT, NIX, POSTGRES};
use crate::{interrupt, workspace};

/// With how many processes the worker is compared to Nix alone.
const COMPARED: u32 = 2;

/// What `cargo xtask bench eval` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many attributes the flake has.
    #[arg(long, value_name = "COUNT", default_value_t = 15_000)]
    attributes: usize,
    /// Take the packages from this graph instead of a generated one, as `bench scheduler` reads it.
    #[arg(long, value_name = "FILE")]
    graph: Option<PathBuf>,
    /// With how many evaluator processes, separated by commas.
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "1,2,4")]
    processes: Vec<u32>,
    /// How often each is done, in turn.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    rounds: usize,
    /// How many derivations the server is given without an evaluation; 0 leaves that out.
    #[arg(long, value_name = "COUNT", default_value_t = 37_000)]
    ingest: usize,
    /// Measure this gradient-server instead of building one; `gradient-worker` is beside it.
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Print the figures that matter as JSON, and everything else on standard error.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<()> {
    interrupt::watch()?;
    prerequisites::ensure(&[&GIT, &NIX, &POSTGRES])?;
    prerequisites::ensure_store_is_writable()?;
    let programs = workspace::release_programs(options.server.as_deref())?;
    let flake = Flake::new(options)?;
    eprintln!("{} attributes, {} derivations, {} edges", flake.attributes(), flake.derivations(), flake.edges());
    let rounds = (0..options.rounds).map(|round| Round::run(round, &programs, &flake, options)).collect::<Result<Vec<_>>>()?;
    let mut ingested = Vec::new();
    for database in Database::chosen(None).filter(|_| options.ingest > 0) {
        let took = ingest::run(&programs, database, options.ingest).with_context(|| format!("on {}", database.name()))?;
        eprintln!(
            "{}: {} derivations and {} edges are stored in {:.2} s",
            database.name(),
            options.ingest,
            took.edges,
            took.time.as_secs_f64()
        );
        let again = &took.restarted;
        eprintln!(
            "{}: started again, the server knows the graph after {:.2} s, with {:.0} MiB of memory and {:.0} MiB on the way",
            database.name(),
            again.time.as_secs_f64(),
            mib(again.resident),
            mib(again.peak)
        );
        ingested.push(took);
    }
    if options.json {
        println!("{}", figures(&rounds, &ingested));
    }
    Ok(())
}

/// One measurement of everything.
struct Round {
    plain: Usage,
    /// With how many processes, and what that took.
    ours: Vec<(u32, Evaluated)>,
}

impl Round {
    fn run(round: usize, programs: &Programs, flake: &Flake, options: &Options) -> Result<Self> {
        let nix_first = round.is_multiple_of(2);
        let mut plain = nix_first.then(|| nix::evaluate(flake)).transpose()?;
        let mut ours = Vec::new();
        for &processes in &options.processes {
            interrupt::check()?;
            let evaluated = gradient::evaluate(programs, flake, processes).with_context(|| format!("{processes} processes"))?;
            ours.push((processes, evaluated));
        }
        // Whoever is first may find the machine in another state.
        let plain = plain.take().map_or_else(|| nix::evaluate(flake), Ok)?;
        eprintln!(
            "{:<26} {:>8} {:>8} {:>9} {:>9} {:>11} {:>10}",
            "", "wall s", "CPU s", "peak MiB", "server s", "first build", "second run"
        );
        eprintln!("{:<26} {}", "nix eval", shown(&plain));
        for (processes, evaluated) in &ours {
            let Evaluated { usage, server, first_build, second_run } = evaluated;
            let [server, first, second] = [server, first_build, second_run].map(Duration::as_secs_f64);
            eprintln!(
                "{:<26} {} {server:>9.2} {first:>11.2} {second:>10.2}",
                format!("worker, {processes} processes"),
                shown(usage)
            );
        }
        match nix::evaluate_with_jobs(flake, COMPARED)? {
            Some(jobs) => eprintln!("{:<26} {}", format!("nix-eval-jobs, {COMPARED} workers"), shown(&jobs)),
            None => eprintln!("{:<26} not in the path", "nix-eval-jobs"),
        }
        Ok(Self { plain, ours })
    }

    fn compared(&self) -> Option<&Evaluated> {
        self.ours.iter().find(|(processes, _)| *processes == COMPARED).map(|(_, evaluated)| evaluated)
    }
}

fn shown(usage: &Usage) -> String {
    format!("{:>8.2} {:>8.2} {:>9.0}", usage.wall.as_secs_f64(), usage.cpu.as_secs_f64(), mib(usage.peak))
}

/// The medians of all rounds; `null` is what was not measured.
fn figures(rounds: &[Round], ingested: &[Ingested]) -> serde_json::Value {
    let of = |figure: &dyn Fn(&Usage, &Evaluated) -> Duration| {
        let times: Vec<Duration> = rounds.iter().filter_map(|round| Some(figure(&round.plain, round.compared()?))).collect();
        (!times.is_empty()).then(|| median(times).as_secs_f64())
    };
    let ratio = |ours: Duration, plain: Duration| Duration::from_secs_f64(ours.as_secs_f64() / plain.as_secs_f64().max(1e-3));
    json!({
        "wall_ratio": of(&|plain, ours| ratio(ours.usage.wall, plain.wall)),
        "cpu_ratio": of(&|plain, ours| ratio(ours.usage.cpu, plain.cpu)),
        "peak_mib": rounds.iter().filter_map(Round::compared).map(|ours| mib(ours.usage.peak)).reduce(f64::max),
        "first_build_s": of(&|_, ours| ours.first_build),
        "second_run_s": of(&|_, ours| ours.second_run),
        "ingest_s_sqlite": ingested.first().map(|of| of.time.as_secs_f64()),
        "ingest_s_postgres": ingested.get(1).map(|of| of.time.as_secs_f64()),
        "restart_s_sqlite": ingested.first().map(|of| of.restarted.time.as_secs_f64()),
        "restart_s_postgres": ingested.get(1).map(|of| of.restarted.time.as_secs_f64()),
    })
}
