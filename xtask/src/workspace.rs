//! Where the workspace is and what lies in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};
use gradient_test_support::deployment::Programs;
use xshell::{Shell, cmd};

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest_dir.parent().unwrap_or(manifest_dir).to_path_buf()
}

/// A shell in the root of the workspace.
pub(crate) fn shell() -> Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(root());
    Ok(shell)
}

/// A cargo command in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(arguments);
    command
}

/// Builds the server and the worker.
pub(crate) fn build_programs() -> Result<Programs> {
    // The whole workspace, so that its crates have the same features as in the tests and are built once.
    let status = cargo(&["build", "--workspace", "--bins"]).status().context("starting cargo")?;
    if !status.success() {
        bail!("building server and worker failed");
    }
    debug_programs()
}

/// The server and the worker as they were last built.
pub(crate) fn debug_programs() -> Result<Programs> {
    programs("debug")
}

fn programs(profile: &str) -> Result<Programs> {
    let folder = members()?.target_directory.into_std_path_buf().join(profile);
    Ok(Programs { server: folder.join("gradient-server"), worker: folder.join("gradient-worker") })
}

/// This server and the worker beside it; without one, both are built as they are delivered.
pub(crate) fn release_programs(server: Option<&Path>) -> Result<Programs> {
    if let Some(server) = server {
        let server = std::path::absolute(server)?;
        return Ok(Programs { worker: server.with_file_name("gradient-worker"), server });
    }
    let both = ["build", "--release", "--package", "gradient-server", "--package", "gradient-worker"];
    let status = cargo(&both).status().context("starting cargo")?;
    if !status.success() {
        bail!("building server and worker failed");
    }
    programs("release")
}

/// The workspace's members with their dependencies, and nothing of other packages.
pub(crate) fn members() -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .context("reading the workspace with cargo metadata")
}

/// The files that belong to the project, relative to its root: those that git knows or would add.
pub(crate) fn files(shell: &Shell) -> Result<Vec<String>> {
    let listed = cmd!(shell, "git ls-files --cached --others --exclude-standard")
        .quiet()
        .read()
        .context("listing the project's files with git")?;
    let root = root();
    Ok(listed.lines().filter(|path| root.join(path).is_file()).map(str::to_owned).collect())
}

/// Whether the file's name ends in `.` and the extension.
pub(crate) fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

/// Prints the faults and fails when there are some.
pub(crate) fn report(check: &str, faults: &[String]) -> Result<()> {
    for fault in faults {
        println!("{fault}");
    }
    match faults.len() {
        0 => Ok(()),
        1 => bail!("{check}: 1 fault"),
        n => bail!("{check}: {n} faults"),
    }
}
