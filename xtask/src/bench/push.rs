//! `cargo xtask bench push`: `nix copy` to the cache beside `nix copy` into a folder.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use gradient_test_support::deployment::{CacheVisibility, Installation, answer};
use serde_json::json;

use super::figures::{median, mib, number};
use super::proc;
use super::store_paths::{Sizes, StorePaths};
use crate::prerequisites::{self, NIX};
use crate::{interrupt, workspace};

/// What `cargo xtask bench push` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    sizes: Sizes,
    /// How Nix compresses.
    #[arg(long, default_value = "zstd")]
    compression: String,
    /// How often each is done, in turn.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    rounds: usize,
    /// Measure this gradient-server instead of building one.
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Print the figures that matter as JSON, and everything else on standard error.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<()> {
    interrupt::watch()?;
    prerequisites::ensure(&[&NIX])?;
    let programs = workspace::release_programs(options.server.as_deref())?;
    let folder = tempfile::Builder::new().prefix("gradient-bench-").tempdir()?;
    eprintln!("making store paths of what this machine has");
    let paths = StorePaths::create(folder.path(), options.sizes)?;
    let (mut to_folder, mut to_cache, mut cpu, mut peak_rss) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for round in 0..options.rounds {
        interrupt::check()?;
        let here = folder.path().join(format!("round-{round}"));
        let files = here.join("files");
        to_folder.push(paths.copy_to(&format!("file://{}?compression={}", files.display(), options.compression))?);
        // A new server: it has nothing of this yet.
        let mut installation = Installation::start(&programs, &here, None)?;
        paths.log_in("127.0.0.1", &set_up(&mut installation)?)?;
        let url = format!("{}?compression={}", installation.cache_url(), options.compression);
        let process = installation.server().process().id();
        let before = proc::cpu_time(process)?;
        to_cache.push(paths.copy_to(&url)?);
        cpu.push(proc::cpu_time(process)?.saturating_sub(before));
        peak_rss = peak_rss.max(proc::peak_rss(process)?);
        installation.stop()?;
        std::fs::remove_dir_all(&here)?;
        eprintln!("round {}: {:?} into a folder, {:?} to the cache", round + 1, to_folder.last(), to_cache.last());
    }
    let (to_folder, to_cache, cpu) = (median(to_folder), median(to_cache), median(cpu));
    let size = mib(paths.bytes);
    let per_second = |amount: f64, time: Duration| amount / time.as_secs_f64();
    let count = number(u64::try_from(paths.len())?);
    eprintln!("\n{count} store paths, {size:.0} MiB, compression={}, medians of {} rounds", options.compression, options.rounds);
    eprintln!("{:<16} {:>8} {:>9} {:>8}", "nix copy", "seconds", "paths/s", "MiB/s");
    for (name, time) in [("into a folder", to_folder), ("to the cache", to_cache)] {
        let seconds = time.as_secs_f64();
        eprintln!("{name:<16} {seconds:>8.1} {:>9.1} {:>8.1}", per_second(count, time), per_second(size, time));
    }
    let cpu = cpu.as_secs_f64() * 1e3 / count;
    eprintln!("the server: {cpu:.2} ms of CPU a path, peak RSS {} MiB", peak_rss >> 20);
    if options.json {
        let figures = json!({
            "paths_per_second": per_second(count, to_cache),
            "mib_per_second": per_second(size, to_cache),
            "time_ratio_to_folder": to_cache.as_secs_f64() / to_folder.as_secs_f64(),
            "server_cpu_ms_per_path": cpu,
            "peak_rss_mib": mib(peak_rss),
        });
        println!("{figures}");
    }
    Ok(())
}

/// A user with a cache; the key to it.
fn set_up(installation: &mut Installation) -> Result<String> {
    installation.register_user()?;
    installation.create_organization(CacheVisibility::Public)?;
    let key = json!({"name": "bench", "permissions": ["readStore", "writeStore"]});
    Ok(answer::text(&installation.api().post("/user/keys", &key)?)?.to_owned())
}
