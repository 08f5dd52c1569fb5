//! `cargo xtask fuzz`: every parser of what others send, with inputs that grow out of real ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// A fuzz target and where its first inputs are.
struct Target {
    name: &'static str,
    seeds: &'static str,
}

const TARGETS: &[Target] = &[
    Target { name: "build_products", seeds: "fuzz/seeds/build_products" },
    Target { name: "daemon", seeds: "fuzz/seeds/daemon" },
    Target { name: "derivation", seeds: "crates/gradient-nix/tests/vectors/drv" },
    Target { name: "frame", seeds: "fuzz/seeds/frame" },
    Target { name: "listing", seeds: "crates/gradient-nix/tests/vectors/nar" },
    Target { name: "nar", seeds: "crates/gradient-nix/tests/vectors/nar" },
    Target { name: "narinfo", seeds: "crates/gradient-nix/tests/vectors/signing" },
    Target { name: "realisation", seeds: "fuzz/seeds/realisation" },
    Target { name: "received", seeds: "fuzz/seeds/received" },
    Target { name: "upload", seeds: "crates/gradient-nix/tests/vectors/nar" },
];

/// What `cargo fuzz --sanitizer none` gives to the compiler: the engine is told of every branch and comparison. All of it is stable.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
                        -Ccodegen-units=1 --cfg fuzzing";

/// The memory that an input may need, and how long it may take.
const LIMITS: [&str; 3] = ["-rss_limit_mb=1024", "-malloc_limit_mb=512", "-timeout=10"];

/// What `cargo xtask fuzz` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long each target runs, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,

    /// Only these targets.
    targets: Vec<String>,
}

/// Runs one target after the other and fails at the first input that one does not bear; the file with it is named.
pub(crate) fn run(options: &Options) -> Result<()> {
    let unknown = options.targets.iter().find(|name| TARGETS.iter().all(|target| target.name != **name));
    if let Some(name) = unknown {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        bail!("there is no target {name}; there are {}", names.join(", "));
    }
    let folder = workspace::members()?.target_directory.into_std_path_buf().join("fuzz");
    let triple = build(&folder)?;
    let programs = folder.join(triple).join("release");
    for target in
        TARGETS.iter().filter(|target| options.targets.is_empty() || options.targets.iter().any(|name| name == target.name))
    {
        println!("── {} for {} s", target.name, options.seconds);
        fuzz(target, &programs, &folder, options.seconds)?;
    }
    Ok(())
}

/// The flags are for another target than the machine that compiles, by name, so that they stay out of build scripts.
fn build(folder: &Path) -> Result<String> {
    let version = Command::new("rustc").arg("-vV").output().context("asking rustc for its target")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let triple = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no target")?.to_owned();
    let mut build = workspace::cargo(&["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target"]);
    build.arg(&triple).arg("--target-dir").arg(folder).env("RUSTFLAGS", COVERAGE).env_remove("CARGO_ENCODED_RUSTFLAGS");
    if !build.status().context("starting cargo")?.success() {
        bail!("building the fuzz targets failed; the engine needs a C++ compiler (Debian: g++)");
    }
    Ok(triple)
}

fn fuzz(target: &Target, programs: &Path, folder: &Path, seconds: u32) -> Result<()> {
    let (corpus, artifacts) = (made(folder.join("corpus").join(target.name))?, made(folder.join("artifacts"))?);
    let mut program = Command::new(programs.join(target.name));
    program.arg(&corpus).arg(workspace::root().join(target.seeds)).args(LIMITS);
    program.arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
    program.arg(format!("-artifact_prefix={}/{}-", artifacts.display(), target.name));
    if !program.status().with_context(|| format!("starting {}", target.name))?.success() {
        bail!("the target {} does not bear an input; its file in {} is named above", target.name, artifacts.display());
    }
    Ok(())
}

fn made(folder: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_run_and_has_seeds() {
        let manifest = fs::read_to_string(workspace::root().join("fuzz/Cargo.toml")).unwrap();
        let listed = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""));
        assert_eq!(listed.collect::<Vec<_>>(), TARGETS.iter().map(|target| target.name).collect::<Vec<_>>());
        for target in TARGETS {
            assert!(fs::read_dir(workspace::root().join(target.seeds)).unwrap().count() > 0, "{}", target.name);
        }
    }
}
