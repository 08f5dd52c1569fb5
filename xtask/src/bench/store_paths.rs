//! Store paths with contents of this machine, and what Nix does with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::NixInstall;

mod contents;

use crate::interrupt;

/// Arguments of one command, at most.
const BATCH: usize = 200;

/// What the set consists of, beside two files whose compressed NAR has about 50 MiB.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Sizes {
    /// How many store paths have a NAR of about 20 KiB.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    small: usize,
    /// How many are sources of crates or installed packages, as far as there are so many.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    directories: usize,
}

/// The paths, in a store of their own.
#[derive(Debug)]
pub(super) struct StorePaths {
    nix: NixInstall,
    home: PathBuf,
    store: PathBuf,
    paths: Vec<String>,
    /// The sum of the files' sizes.
    pub(super) bytes: u64,
}

impl StorePaths {
    /// Makes them below a folder, where nothing may be of that yet.
    pub(super) fn create(folder: &Path, sizes: Sizes) -> Result<Self> {
        let (home, store, contents) = (folder.join("home"), folder.join("store"), folder.join("contents"));
        fs::create_dir_all(&home)?;
        let configuration = "experimental-features = nix-command\nbuild-users-group =\nsubstituters =\n";
        fs::write(home.join("nix.conf"), format!("{configuration}netrc-file = {}\n", home.join("netrc").display()))?;
        fs::create_dir_all(&contents)?;
        let (sources, bytes) = contents::make(&contents, sizes)?;
        let mut paths = Self { nix: NixInstall::of_the_system(), home, store, paths: Vec::new(), bytes };
        for batch in sources.chunks(BATCH) {
            interrupt::check()?;
            let batch: Vec<String> = batch.iter().map(|source| source.display().to_string()).collect();
            let store = paths.store.display().to_string();
            let said = paths.run("nix-store", &[&["--store", &store, "--add"], &strs(&batch)[..]].concat())?;
            paths.paths.extend(said.lines().filter(|line| line.starts_with("/nix/store/")).map(str::to_owned));
        }
        if paths.paths.len() != sources.len() {
            bail!("of {} files and folders Nix made {} store paths", sources.len(), paths.paths.len());
        }
        fs::remove_dir_all(&contents)?;
        Ok(paths)
    }

    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    /// The hashes of the paths whose name begins so.
    pub(super) fn hashes(&self, name: &str) -> Vec<String> {
        let parts = self.paths.iter().filter_map(|path| path.strip_prefix("/nix/store/")?.split_once('-'));
        parts.filter(|(_, of_path)| of_path.starts_with(name)).map(|(hash, _)| hash.to_owned()).collect()
    }

    /// Gives Nix a password for a host.
    pub(super) fn log_in(&self, host: &str, password: &str) -> Result<()> {
        Ok(fs::write(self.home.join("netrc"), format!("machine {host} login bench password {password}\n"))?)
    }

    /// Copies all of them with `nix copy`; how long that took.
    pub(super) fn copy_to(&self, url: &str) -> Result<Duration> {
        let store = self.store.display().to_string();
        let started = Instant::now();
        let arguments = ["copy", "--no-check-sigs", "--from", &store, "--to", url];
        self.run("nix", &[&arguments, &strs(&self.paths)[..]].concat()).with_context(|| format!("nix copy --to {url}"))?;
        Ok(started.elapsed())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.nix.command(program, &self.home).args(arguments).output().context("starting Nix")?;
        if !output.status.success() {
            bail!("{program}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn strs(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}
