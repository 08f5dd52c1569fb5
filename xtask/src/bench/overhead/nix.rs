//! What Nix takes for it alone.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::NixInstall;

use super::{Packages, write_expression};

/// How long it took.
#[derive(Debug)]
pub(super) struct Plain {
    /// All builds.
    pub(super) building: Duration,
    /// The copy of all outputs to a folder.
    pub(super) copying: Duration,
}

/// Builds the packages with as many builds at once as the worker has slots, and copies all outputs to a cache in a folder.
pub(super) fn build_and_copy(packages: &Packages, folder: &Path) -> Result<Plain> {
    write_expression(folder)?;
    let configuration =
        "experimental-features = nix-command\nbuild-users-group =\nsandbox = false\nsubstituters =\nmax-jobs = 2\n";
    std::fs::write(folder.join("nix.conf"), configuration)?;
    let (shape, count, expression) = (packages.shape.name(), packages.count.to_string(), folder.join("packages.nix"));
    let arguments = ["--argstr", "shape", shape, "--arg", "count", &count, "--argstr", "nonce", &packages.nonce];
    let derivations =
        run(folder, "nix-instantiate", &[&[expression.to_str().context("a folder's name")?], &arguments[..]].concat())?;
    let derivations: Vec<&str> = derivations.lines().collect();
    let started = Instant::now();
    let outputs = run(folder, "nix-store", &[&["--realise"], &derivations[..]].concat())?;
    let building = started.elapsed();
    let outputs: Vec<&str> = outputs.lines().collect();
    let cache = format!("file://{}?compression=zstd", folder.join("cache").display());
    let started = Instant::now();
    run(folder, "nix", &[&["copy", "--no-check-sigs", "--to", &cache], &outputs[..]].concat())?;
    Ok(Plain { building, copying: started.elapsed() })
}

fn run(home: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = NixInstall::of_the_system().command(program, home).args(arguments).output().context("starting Nix")?;
    if !output.status.success() {
        bail!("{program}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
