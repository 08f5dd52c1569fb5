//! `cargo xtask bench dispatch`: a thousand workers that build nothing, each on a socket of its own, and how soon a slot that is free
//! has its next build, and how many builds a second the server completes so that a restart knows.

mod client;
mod crew;
mod worker;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gradient_domain::JobKind;
use gradient_test_support::deployment::{CacheVisibility, FlakeRepository, Installation, Programs, answer};
use serde_json::json;

use self::crew::{Crew, Member, Phase};
use super::database::{Database, Throwaway};
use super::figures::number;
use super::graph;
use super::proc;
use super::stub_worker::{Plan, Progress, StubWorker};
use crate::prerequisites::{self, GIT, POSTGRES};
use crate::{interrupt, workspace};

const PROJECT: &str = "packages";

/// What `cargo xtask bench dispatch` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many workers are connected.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    workers: usize,
    /// How many builds each runs at the same time.
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    slots: u32,
    /// How long a build takes on average while the time to the next assignment is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 40)]
    build_secs: u64,
    /// For how long that is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    seconds: u64,
    /// Only on this database.
    #[arg(long)]
    database: Option<Database>,
    /// Measure this gradient-server instead of building one; `gradient-worker` is beside it.
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Print the figures that matter as JSON, and everything else on standard error.
    #[arg(long)]
    json: bool,
}

impl Options {
    fn all_slots(&self) -> usize {
        self.workers * usize::try_from(self.slots).unwrap_or(1)
    }

    /// What is built while it is measured, and twice what all slots have.
    fn builds(&self) -> usize {
        let secs = self.seconds + SETTLES.as_secs();
        let paced = self.all_slots() * usize::try_from(secs).unwrap_or(0) / usize::try_from(self.build_secs.max(1)).unwrap_or(1);
        paced * 3 / 2 + self.all_slots() * 4
    }
}

/// How long the server may take for each part.
const LIMIT: Duration = Duration::from_mins(10);

/// How long it has after all slots were filled, before anything is measured.
const SETTLES: Duration = Duration::from_secs(5);

/// What was measured on one database.
struct Measured {
    database: Database,
    p50: Duration,
    p99: Duration,
    completions_per_s: f64,
}

pub(super) fn run(options: &Options) -> Result<()> {
    interrupt::watch()?;
    prerequisites::ensure(&[&GIT, &POSTGRES])?;
    let programs = workspace::release_programs(options.server.as_deref())?;
    crew::allow_many_sockets();
    let measure = |database: Database| {
        let measured = measure(&programs, database, options).with_context(|| format!("on {}", database.name()))?;
        interrupt::check()?;
        anyhow::Ok(measured)
    };
    let measured = Database::chosen(options.database).map(measure).collect::<Result<Vec<_>>>()?;
    if options.json {
        println!("{}", figures(&measured));
    }
    Ok(())
}

fn measure(programs: &Programs, database: Database, options: &Options) -> Result<Measured> {
    let throwaway = Throwaway::durable(database)?;
    let folder = tempfile::Builder::new().prefix("gradient-bench-").tempdir()?;
    let mut installation = Installation::start(programs, folder.path(), throwaway.url())?;
    let measured = measure_on(&mut installation, folder.path(), database, options);
    if measured.is_err() {
        eprintln!("{}", installation.log_tails());
    }
    let measured = measured?;
    installation.stop()?;
    Ok(measured)
}

fn measure_on(
    installation: &mut Installation,
    folder: &std::path::Path,
    database: Database,
    options: &Options,
) -> Result<Measured> {
    let name = database.name();
    let evaluator = evaluate(installation, folder, options)?;
    let (address, process) = (address(installation), installation.server().process().id());
    let crew = Crew::connect(&address, &register(installation, options.workers)?, options)?;

    let started = Instant::now();
    crew.wait_until(LIMIT, "all slots have a build", |counts| counts.assigned >= options.all_slots())?;
    let filled = per_second(options.all_slots(), started.elapsed());
    eprintln!("{name}: {} workers connected, {} slots filled at {filled:.0} builds/s", options.workers, options.all_slots());

    std::thread::sleep(SETTLES);
    let (before, cpu_before) = (crew.counts(), proc::cpu_time(process)?);
    crew.measure(true);
    std::thread::sleep(Duration::from_secs(options.seconds));
    crew.measure(false);
    let (after, cpu) = (crew.counts(), proc::cpu_time(process)?.saturating_sub(cpu_before));
    let built = after.completed - before.completed;
    let mut gaps = crew.take_gaps();
    gaps.sort_unstable();
    let at = |per_mille: usize| gaps.get((gaps.len() * per_mille / 1000).min(gaps.len().saturating_sub(1))).copied();
    let (Some(p50), Some(p99), Some(max)) = (at(500), at(990), at(1000)) else { anyhow::bail!("no slot got another build") };
    let per_build = cpu.as_secs_f64() * 1e3 / number(u64::try_from(built.max(1))?);
    eprintln!(
        "{name}: at {:.0} builds/s a free slot has its next build after {:.1} ms (p50), {:.1} ms (p99), {:.1} ms (most); \
         {} slots seen, {per_build:.1} ms of the server's CPU for a build",
        per_second(built, Duration::from_secs(options.seconds)),
        p50.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
        max.as_secs_f64() * 1e3,
        gaps.len(),
    );

    let (started, before) = (Instant::now(), crew.counts().held);
    crew.enter(Phase::Hold);
    crew.wait_until(LIMIT, "all outputs are uploaded", |counts| counts.held >= options.all_slots())?;
    let uploaded = per_second(crew.counts().held - before, started.elapsed());
    let (before, cpu_before) = (crew.counts(), proc::cpu_time(process)?);
    let started = Instant::now();
    crew.enter(Phase::Burst);
    let wanted = before.completed + before.held;
    crew.wait_until(LIMIT, "all builds are completed", |counts| counts.completed >= wanted)?;
    let completions_per_s = per_second(before.held, started.elapsed());
    let cpu = proc::cpu_time(process)?.saturating_sub(cpu_before).as_secs_f64() * 1e3 / number(u64::try_from(before.held)?);
    eprintln!(
        "{name}: {} outputs uploaded at {uploaded:.0}/s, their builds completed at {completions_per_s:.0}/s, {cpu:.2} ms of the \
         server's CPU for a completion",
        before.held
    );
    crew.disband()?;
    drop(evaluator);
    Ok(Measured { database, p50, p99, completions_per_s })
}

fn address(installation: &mut Installation) -> String {
    installation.server().url().trim_start_matches("http://").to_owned()
}

/// Makes an evaluation with enough builds, by a worker that builds the first one and keeps its slots busy then.
fn evaluate(installation: &mut Installation, folder: &std::path::Path, options: &Options) -> Result<StubWorker> {
    installation.register_user()?;
    installation.create_organization(CacheVisibility::Public)?;
    let repository = FlakeRepository::create(&folder.join("repository"))?;
    installation.create_project(PROJECT, &repository.url(), "packages.x86_64-linux.#")?;
    let worker_id = installation.register_worker()?.to_owned();
    let token = installation.worker_token().context("the worker has no token")?.to_owned();
    let graph = graph::wide(options.builds(), options.all_slots() * 2)?;
    let (address, kinds) = (address(installation), vec![JobKind::Fetch, JobKind::Evaluate, JobKind::Build]);
    // All others wait for the first one; it must not take as long as a build does here.
    let worker = StubWorker::start(Plan { address, worker_id, token, kinds, graph, builds: 1 })?;
    installation.evaluate(PROJECT)?;
    worker.wait_for(&Progress::Evaluated, LIMIT)?;
    worker.wait_for(&Progress::Built, LIMIT)?;
    Ok(worker)
}

fn register(installation: &Installation, workers: usize) -> Result<Vec<Member>> {
    let register = |number| {
        let id = uuid::Uuid::new_v4().to_string();
        let registration = json!({"worker_id": id, "display_name": format!("build-{number}")});
        let registered = installation.api().post(&format!("/orgs/{}/workers", Installation::ORGANIZATION), &registration)?;
        Ok(Member { id, token: answer::field(&registered, "token")?.to_owned() })
    };
    (0..workers).map(register).collect()
}

fn per_second(count: usize, time: Duration) -> f64 {
    number(u64::try_from(count).unwrap_or(0)) / time.as_secs_f64().max(1e-9)
}

/// `null` is what was not measured. Of both databases the slower one.
fn figures(measured: &[Measured]) -> serde_json::Value {
    let slowest = |time: fn(&Measured) -> Duration| measured.iter().map(time).max().map(|time| time.as_secs_f64() * 1e3);
    let completions = |database| measured.iter().find(|measured| measured.database == database).map(|of| of.completions_per_s);
    json!({
        "p50_ms": slowest(|measured| measured.p50),
        "p99_ms": slowest(|measured| measured.p99),
        "completions_per_s_sqlite": completions(Database::Sqlite),
        "completions_per_s_postgres": completions(Database::Postgres),
    })
}
