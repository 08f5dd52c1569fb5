//! `cargo xtask bench transfer`: how fast outputs go from a worker to the server and into the cache, and inputs the other way, beside
//! `nix copy`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gradient_domain::Moment;
use gradient_test_support::deployment::{CacheVisibility, Evaluation, FlakeRepository, Installation, NixInstall, this_system};
use serde_json::{Value, json};

use super::figures::number;
use crate::prerequisites::{self, GIT, NIX};
use crate::{interrupt, workspace};

/// What `cargo xtask bench transfer` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many outputs there are.
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    count: u32,
    /// How large each is.
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    mib: u32,
    /// How often it is done.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    rounds: usize,
    /// Measure this gradient-server instead of building one; `gradient-worker` is beside it.
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Print the medians as JSON, and everything else on standard error.
    #[arg(long)]
    json: bool,
}

/// How long a machine may take for a build.
const LIMIT: Duration = Duration::from_mins(10);

/// How long it took one way and the other.
#[derive(Debug, Clone, Copy)]
struct Round {
    outputs: Duration,
    inputs: Duration,
    copy_out: Duration,
    copy_in: Duration,
}

pub(super) fn run(options: &Options) -> Result<()> {
    interrupt::watch()?;
    prerequisites::ensure(&[&GIT, &NIX])?;
    prerequisites::ensure_store_is_writable()?;
    let programs = workspace::release_programs(options.server.as_deref())?;
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        interrupt::check()?;
        let folder = tempfile::Builder::new().prefix("gradient-bench-").tempdir()?;
        let mut installation = Installation::start(&programs, folder.path(), None)?;
        let measured = measure(&mut installation, folder.path(), options);
        if measured.is_err() {
            eprintln!("{}", installation.log_tails());
        }
        let measured = measured?;
        installation.stop()?;
        eprintln!("round {}: {measured:?}", round + 1);
        rounds.push(measured);
    }
    let size = number(u64::from(options.mib) * u64::from(options.count));
    let speed = |time: fn(&Round) -> Duration| {
        let mut speeds: Vec<f64> = rounds.iter().map(|round| size / time(round).as_secs_f64()).collect();
        speeds.sort_by(f64::total_cmp);
        speeds.get(speeds.len() / 2).copied().unwrap_or_default()
    };
    let (outputs, inputs) = (speed(|round| round.outputs), speed(|round| round.inputs));
    let (copy_out, copy_in) = (speed(|round| round.copy_out), speed(|round| round.copy_in));
    eprintln!("\n{size} MiB in {} outputs, MiB/s, medians of {} rounds", options.count, options.rounds);
    eprintln!("from the worker into the cache: {outputs:.0}; nix copy into a folder: {copy_out:.0}");
    eprintln!("from the server to a worker:    {inputs:.0}; nix copy from the folder: {copy_in:.0}");
    if options.json {
        let figures = json!({
            "outputs_mib_per_second": outputs,
            "inputs_mib_per_second": inputs,
            "outputs_ratio": outputs / copy_out,
            "inputs_ratio": inputs / copy_in,
        });
        println!("{figures}");
    }
    Ok(())
}

fn measure(installation: &mut Installation, folder: &Path, options: &Options) -> Result<Round> {
    installation.register_user()?;
    installation.create_organization(CacheVisibility::Public)?;
    let repository = FlakeRepository::create(&folder.join("repository"))?;
    repository.write("packages.nix", include_str!("transfer/packages.nix"))?;
    repository.write("flake.nix", include_str!("transfer/flake.nix"))?;
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    repository.write("parameters.json", &json!({"mib": options.mib, "count": options.count, "nonce": nonce}).to_string())?;
    repository.commit("large outputs")?;
    for package in ["data", "reader"] {
        installation.create_project(package, &repository.url(), &format!("packages.{}.{package}", this_system()))?;
    }
    installation.register_worker()?;
    let nix = NixInstall::of_the_system();
    installation.start_worker(&nix)?;

    let evaluation = installation.evaluate("data")?;
    let data = completed(&evaluation, "data")?;
    let built = Duration::from_millis(data.get("build_time_ms").and_then(Value::as_u64).context("no build time")?);
    let outputs = between(&data, "/started_at", "/finished_at")?.saturating_sub(built);
    let paths: Vec<String> =
        data["outputs"].as_object().context("no outputs")?.values().filter_map(Value::as_str).map(str::to_owned).collect();

    let home = folder.join("nix");
    std::fs::create_dir_all(&home)?;
    std::fs::write(home.join("nix.conf"), "experimental-features = nix-command\nbuild-users-group =\nsubstituters =\n")?;
    let cache = format!("file://{}?compression=zstd", folder.join("files").display());
    let copied = folder.join("copied").display().to_string();
    let copy = |from: &[&str]| run_nix(&nix, &home, "nix", &[&["copy", "--no-check-sigs"], from, &strs(&paths)].concat());
    let copy_out = copy(&["--to", &cache])?;
    let copy_in = copy(&["--from", &cache, "--to", &copied])?;

    // The worker's connections to Nix hold what they have built.
    installation.worker().context("no worker")?.process().stop(LIMIT)?;
    installation.forget_worker();
    run_nix(&nix, &home, "nix-store", &[&["--delete"], &strs(&paths)[..]].concat())?;
    installation.start_worker(&nix)?;
    let reader = completed(&installation.evaluate("reader")?, "reader")?;
    let inputs = between(&reader, "/attempts/0/assigned_at", "/started_at")?;
    Ok(Round { outputs, inputs, copy_out, copy_in })
}

/// The build of this name, once it is completed.
fn completed(evaluation: &Evaluation, name: &str) -> Result<Value> {
    let status = evaluation.wait_for_end(LIMIT)?;
    if status != "Completed" {
        bail!("the evaluation of {name} is {status}: {:?}", evaluation.messages()?);
    }
    evaluation.build(name)?.with_context(|| format!("no build of {name}"))
}

fn between(build: &Value, from: &str, to: &str) -> Result<Duration> {
    let moment = |pointer: &str| serde_json::from_value::<Moment>(build.pointer(pointer).cloned().unwrap_or_default());
    Ok(moment(to)?.since(moment(from)?))
}

fn run_nix(nix: &NixInstall, home: &Path, program: &str, arguments: &[&str]) -> Result<Duration> {
    let started = Instant::now();
    let output = nix.command(program, home).args(arguments).output().context("starting Nix")?;
    if !output.status.success() {
        bail!("{program}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(started.elapsed())
}

fn strs(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}
