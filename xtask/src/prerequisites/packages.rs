//! Programs of tests that come from PyPI, npm and crates.io: in folders of their own below the target folder, never in the
//! machine's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use xshell::{Cmd, Shell, cmd};

use super::{NODE, NPM, PYTHON};
use crate::workspace;

/// The Python packages, one a line.
const REQUIREMENTS: &str = "fixtures/python/requirements.txt";

/// The npm project of the OpenID provider.
const OIDC_PROVIDER: &str = "fixtures/oidc-provider";

/// The S3-compatible server, a package with a lock file of its own.
const S3_SERVER: &str = "fixtures/s3-server";

/// Says of a folder which packages are in it, once all are.
const STAMP: &str = "gradient-packages";

/// Where the packages are.
pub(crate) struct Packages {
    python: PathBuf,
    oidc_provider: PathBuf,
    s3_server: PathBuf,
}

impl Packages {
    /// Installs what is not there yet in the versions that the project names.
    pub(crate) fn ensure() -> Result<Self> {
        super::ensure(&[&PYTHON, &NODE, &NPM])?;
        let folder = workspace::members()?.target_directory.into_std_path_buf().join("test-packages");
        fs::create_dir_all(&folder)?;
        let shell = workspace::shell()?;
        let python = python(&shell, &folder.join("python")).context("installing the Python packages of the tests")?;
        let oidc_provider =
            oidc_provider(&shell, &folder.join("oidc-provider")).context("installing the OpenID provider of the tests")?;
        let s3_server = s3_server(&shell, &folder.join("s3-server")).context("building the S3-compatible server of the tests")?;
        Ok(Self { python, oidc_provider, s3_server })
    }

    /// A program of one of the Python packages.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.python.with_file_name(name)
    }

    /// Tells a test command where they are, and that their absence would be a failure.
    pub(crate) fn offer_to(&self, tests: &mut Command) {
        tests.envs(self.variables()).env("GRADIENT_TEST_REQUIRE_PACKAGES", "1");
    }

    /// Prints the variables for a shell.
    pub(crate) fn print(&self) {
        for (name, value) in self.variables() {
            println!("export {name}='{}'", value.display());
        }
    }

    fn variables(&self) -> [(&'static str, &Path); 3] {
        [
            ("GRADIENT_TEST_PYTHON", &self.python),
            ("GRADIENT_TEST_OIDC_PROVIDER", &self.oidc_provider),
            ("GRADIENT_TEST_S3_SERVER", &self.s3_server),
        ]
    }
}

/// The interpreter of a virtual environment with the packages.
fn python(shell: &Shell, environment: &Path) -> Result<PathBuf> {
    let interpreter = environment.join("bin/python");
    let wanted = fs::read_to_string(workspace::root().join(REQUIREMENTS))?;
    let is_usable = || Command::new(&interpreter).arg("--version").output().is_ok_and(|output| output.status.success());
    if !(is_current(environment, &wanted) && is_usable()) {
        println!("installing Python packages below {}", environment.display());
        run(cmd!(shell, "python3 -m venv --clear {environment}"))?;
        run(cmd!(
            shell,
            "{interpreter} -m pip install --quiet --disable-pip-version-check --no-input --requirement {REQUIREMENTS}"
        ))?;
        fs::write(environment.join(STAMP), wanted)?;
    }
    Ok(interpreter)
}

/// A folder with the program and the packages that it imports: Node.js looks for them beside the program.
fn oidc_provider(shell: &Shell, folder: &Path) -> Result<PathBuf> {
    let source = workspace::root().join(OIDC_PROVIDER);
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(&source)? {
        let entry = entry?;
        // Not the packages of somebody who called npm there.
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    let wanted = fs::read_to_string(source.join("package-lock.json"))?;
    if !is_current(folder, &wanted) {
        println!("installing npm packages below {}", folder.display());
        // No package needs to run anything to be installed.
        run(cmd!(shell, "npm ci --prefix {folder} --ignore-scripts --no-audit --no-fund --no-update-notifier"))?;
        fs::write(folder.join(STAMP), wanted)?;
    }
    Ok(folder.to_path_buf())
}

/// The program. Cargo sees by itself whether there is anything to do.
fn s3_server(shell: &Shell, folder: &Path) -> Result<PathBuf> {
    let manifest = workspace::root().join(S3_SERVER).join("Cargo.toml");
    if !folder.join("debug").is_dir() {
        println!("building the S3-compatible server below {}", folder.display());
    }
    // It is another package than what runs this, whose flags are not its own.
    let build = cmd!(shell, "cargo build --quiet --locked --manifest-path {manifest} --target-dir {folder}");
    run(build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    Ok(folder.join("debug/gradient-fixture-s3-server"))
}

fn is_current(folder: &Path, wanted: &str) -> bool {
    fs::read_to_string(folder.join(STAMP)).is_ok_and(|installed| installed == wanted)
}

/// Runs it with what it prints kept for the error.
fn run(command: Cmd<'_>) -> Result<()> {
    let what = command.to_string();
    let output = command.quiet().ignore_status().output()?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("`{what}` failed: {} {}", out.trim(), err.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_current_with_exactly_what_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_current(folder.path(), "a==1\n"));
        fs::write(folder.path().join(STAMP), "a==1\n").unwrap();
        assert!(is_current(folder.path(), "a==1\n"));
        assert!(!is_current(folder.path(), "a==2\n"));
    }

    #[test]
    fn the_python_packages_have_exact_versions_and_the_lock_names_no_host() {
        let requirements = fs::read_to_string(workspace::root().join(REQUIREMENTS)).unwrap();
        for line in requirements.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.contains("=="), "{line}");
        }
        let manifest = fs::read_to_string(workspace::root().join(S3_SERVER).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("s3s = \"=") && manifest.contains("s3s-fs = { version = \"="));
        let lock = fs::read_to_string(workspace::root().join(OIDC_PROVIDER).join("package-lock.json")).unwrap();
        assert!(lock.contains("\"integrity\"") && !lock.contains("\"resolved\""));
    }
}
