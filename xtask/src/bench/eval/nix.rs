//! What Nix takes for it alone.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::NixInstall;

use super::flake::{Flake, SET};
use super::usage::{Usage, Watch};
use crate::bench::proc;

const CONFIGURATION: &str =
    "experimental-features = nix-command flakes\nbuild-users-group =\nsandbox = false\nsubstituters =\nflake-registry =\n";

/// One `nix eval` of all derivations, which it writes to a new store.
pub(super) fn evaluate(flake: &Flake) -> Result<Usage> {
    measure(flake, "nix", |command, reference| {
        command.args(["eval", "--json", reference, "--apply", "builtins.mapAttrs (_: package: package.drvPath)"]);
    })
}

/// The same with `nix-eval-jobs`, where this machine has it.
pub(super) fn evaluate_with_jobs(flake: &Flake, workers: u32) -> Result<Option<Usage>> {
    const PROGRAM: &str = "nix-eval-jobs";
    match Command::new(PROGRAM).arg("--help").output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found.context("starting nix-eval-jobs")?,
    };
    let usage = measure(flake, PROGRAM, |command, reference| {
        command.args(["--flake", reference, "--workers", &workers.to_string(), "--max-memory-size", "4096"]);
    });
    usage.map(Some)
}

fn measure(flake: &Flake, program: &str, arguments: impl FnOnce(&mut Command, &str)) -> Result<Usage> {
    let folder = tempfile::Builder::new().prefix("gradient-bench-").tempdir()?;
    let (home, printed) = (folder.path().join("home"), folder.path().join("printed"));
    fs::create_dir(&home)?;
    fs::write(home.join("nix.conf"), CONFIGURATION)?;
    let url = flake.create(&folder.path().join("repository"))?;
    let mut command = NixInstall::of_the_system().command(program, &home);
    command.env("NIX_REMOTE", folder.path().join("store"));
    arguments(&mut command, &format!("git+{url}?ref=main#{SET}"));
    command.stdin(Stdio::null()).stdout(File::create(&printed)?).stderr(File::create(home.join("errors"))?).process_group(0);
    let before = children_cpu_time()?;
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("starting {program}"))?;
    let watch = Watch::start(child.id());
    let status = child.wait()?;
    let (wall, peak) = (started.elapsed(), watch.peak());
    if !status.success() {
        bail!("{program}: {status}: {}", fs::read_to_string(home.join("errors"))?);
    }
    let cpu = children_cpu_time()?.saturating_sub(before);
    let found = fs::read_to_string(&printed)?.matches(".drv\"").count();
    if found < flake.attributes() {
        bail!("{program} printed {found} derivations instead of {}", flake.attributes());
    }
    Ok(Usage { wall, cpu, peak })
}

/// Of those children of this process that have ended.
fn children_cpu_time() -> Result<Duration> {
    let process = std::process::id();
    Ok(proc::cpu_time_with_children(process)?.saturating_sub(proc::cpu_time(process)?))
}
