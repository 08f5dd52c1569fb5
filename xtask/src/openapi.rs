//! `cargo xtask openapi`: `docs/gradient-api.yaml`, as the server describes its REST API.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

const FILE: &str = "docs/gradient-api.yaml";

/// What `cargo xtask openapi` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Write nothing, and fail when the file and the code differ.
    #[arg(long)]
    check: bool,
}

/// Writes the file, or checks it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let server = workspace::build_programs()?.server;
    if options.check {
        return check(&server);
    }
    fs::write(workspace::root().join(FILE), description(&server)?).with_context(|| format!("writing {FILE}"))
}

/// Fails when the file is not what this server says.
pub(crate) fn check(server: &Path) -> Result<()> {
    let written = fs::read_to_string(workspace::root().join(FILE)).with_context(|| format!("reading {FILE}"))?;
    let described = description(server)?;
    match first_difference(&written, &described) {
        None => Ok(()),
        Some(line) => bail!("{FILE} and the code differ from line {line} on: run `cargo xtask openapi`, and commit the file"),
    }
}

fn description(server: &Path) -> Result<String> {
    let output = Command::new(server).arg("openapi").output().with_context(|| format!("starting {}", server.display()))?;
    if !output.status.success() {
        bail!("`gradient-server openapi` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The first line, counted from 1, that is not the same.
fn first_difference(left: &str, right: &str) -> Option<usize> {
    if left == right {
        return None;
    }
    Some(left.lines().zip(right.lines()).take_while(|(left, right)| left == right).count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_where_it_begins() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
    }
}
