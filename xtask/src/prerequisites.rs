//! What the tests and the demonstration need from the machine, and how to get it.

pub(crate) mod packages;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::workspace;

/// A program that has to be there, and Debian's package of it.
pub(crate) struct Need {
    program: &'static str,
    package: &'static str,
    found: fn() -> bool,
}

/// Fetching, evaluating and building; the client that substitutes.
pub(crate) const NIX: Need = Need { program: "Nix", package: "nix-bin", found: || on_path("nix") && on_path("nix-daemon") };

/// The repositories of the demonstration and the tests.
pub(crate) const GIT: Need = Need { program: "git", package: "git", found: || on_path("git") };

/// The throwaway database server.
pub(crate) const POSTGRES: Need = Need { program: "PostgreSQL", package: "postgresql", found: || postgres_programs().is_some() };

/// The programs inside a sandboxed build.
pub(crate) const BUSYBOX: Need = Need { program: "a static busybox", package: "busybox-static", found: || on_path("busybox") };

/// The virtual environment of the Python packages that tests run as programs.
pub(crate) const PYTHON: Need = Need { program: "Python with venv", package: "python3-venv", found: python_makes_environments };

/// What the npm packages run on that tests run as programs.
pub(crate) const NODE: Need = Need { program: "Node.js", package: "nodejs", found: || on_path("node") };

/// Installs them.
pub(crate) const NPM: Need = Need { program: "npm", package: "npm", found: || on_path("npm") };

/// What the cache is compared with.
pub(crate) const NGINX: Need =
    Need { program: "nginx", package: "nginx-light", found: || on_path("nginx") || Path::new("/usr/sbin/nginx").is_file() };

/// Asks servers for files, as fast as they answer.
pub(crate) const WRK: Need = Need { program: "wrk", package: "wrk", found: || on_path("wrk") };

/// A repository behind an SSH server.
pub(crate) const SSHD: Need =
    Need { program: "sshd", package: "openssh-server", found: || Path::new("/usr/sbin/sshd").is_file() || on_path("sshd") };

/// Makes sure that everything is there: root on Debian installs what is missing, others are told.
pub(crate) fn ensure(needs: &[&Need]) -> Result<()> {
    let missing: Vec<&&Need> = needs.iter().filter(|need| !(need.found)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs = missing.iter().map(|need| need.program).collect::<Vec<_>>().join(", ");
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let install = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !is_root() || !on_path("apt-get") {
        bail!("{programs} must be installed first; on Debian 12: sudo {install}");
    }
    println!("installing {programs}");
    let shell = workspace::shell()?;
    let _frontend = shell.push_env("DEBIAN_FRONTEND", "noninteractive");
    apt(&shell, &["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&packages);
    apt(&shell, &arguments).with_context(|| format!("installing {programs}; try: {install}"))?;
    match missing.iter().find(|need| !(need.found)()) {
        Some(need) => bail!("{} is still missing after `{install}`", need.program),
        None => Ok(()),
    }
}

/// The worker builds in the machine's own store, in single-user mode.
pub(crate) fn ensure_store_is_writable() -> Result<()> {
    let store = Path::new("/nix/store");
    let writable = if store.exists() { rustix::fs::access(store, rustix::fs::Access::WRITE_OK).is_ok() } else { is_root() };
    if !writable {
        bail!("{} must be writable for this user; run it as root, best in a container or virtual machine", store.display());
    }
    Ok(())
}

fn apt(shell: &Shell, arguments: &[&str]) -> Result<()> {
    Ok(cmd!(shell, "apt-get -o DPkg::Lock::Timeout=600 {arguments...}").quiet().ignore_stdout().run()?)
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a program of this name is on the path.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Debian's Python comes without what a virtual environment is made of.
fn python_makes_environments() -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", "import ensurepip, venv"]).stdout(Stdio::null()).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

/// The folder of PostgreSQL's programs, which Debian keeps off the path.
pub(crate) fn postgres_programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = Path::new("/usr/lib/postgresql");
    let versions = std::fs::read_dir(debian).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let is_complete =
        |folder: &PathBuf| ["initdb", "pg_isready", "postgres"].iter().all(|program| folder.join(program).is_file());
    versions.chain(std::env::split_paths(&path)).find(is_complete)
}
