//! `cargo xtask contract`: schemathesis asks the real server everything that the server's own description allows, and what it
//! does not. No answer may be a failure of the server, or one that the description does not tell of.

mod seeds;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::{Installation, Programs, wait};

use crate::prerequisites::packages::Packages;
use crate::prerequisites::{self, GIT, NIX};
use crate::{interrupt, workspace};
use seeds::Seeds;

/// How long schemathesis asks, unless it is told otherwise. With the tests of hostile input it may take five minutes.
const SECONDS: u64 = 120;

/// How much longer than it is told schemathesis may take: it loads the description first, and finishes what it has begun.
const MARGIN: Duration = Duration::from_mins(2);

/// What `cargo xtask contract` can be told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// How long it may take, without starting the server.
    #[arg(long, value_name = "SECONDS", default_value_t = SECONDS)]
    pub(crate) seconds: u64,
    /// Repeats the run that had this seed; else each run has another one, which is printed.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Further arguments of `schemathesis run`, such as --include-path /orgs.
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

impl Options {
    /// With the same seed every time: a change is judged by what it changes.
    pub(crate) fn repeatable() -> Self {
        Self { seconds: SECONDS, seed: Some(1), arguments: vec!["--no-color".to_owned()] }
    }
}

/// On its own: with everything that it needs.
pub(crate) fn run(options: &Options) -> Result<()> {
    interrupt::watch()?;
    prerequisites::ensure(&[&GIT, &NIX])?;
    let packages = Packages::ensure()?;
    check(options, &packages, &workspace::build_programs()?)
}

/// Starts a server that has one of everything, and lets schemathesis loose on it.
pub(crate) fn check(options: &Options, packages: &Packages, programs: &Programs) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("gradient-contract-").tempdir()?;
    let mut installation = Installation::start(programs, folder.path(), None)?;
    let checked = ask(options, packages, &mut installation, folder.path());
    if checked.is_err() {
        println!("{}", installation.log_tails());
    }
    checked?;
    installation.expect_running()?;
    installation.stop().context("stopping the server")
}

fn ask(options: &Options, packages: &Packages, installation: &mut Installation, folder: &Path) -> Result<()> {
    let seeds = Seeds::plant(installation, folder)?;
    let settings = fs::read_to_string(workspace::root().join("xtask/schemathesis.toml"))?;
    let settings_file = folder.join("schemathesis.toml");
    fs::write(&settings_file, format!("{settings}\n{}", seeds.dictionaries()))?;

    let url = installation.server().url().to_owned();
    let token = installation.api().token().context("nobody is signed in")?.to_owned();
    // What follows links from one answer to the next request gets a share of the time that nothing else can take.
    for (phases, share) in [("examples,coverage,fuzzing", 60), ("stateful", 40)] {
        let mut command = Command::new(packages.program("schemathesis"));
        command.arg("--config-file").arg(&settings_file).args(["run", &format!("{url}/api/v1/openapi.json")]);
        let seconds = (options.seconds * share / 100).max(1).to_string();
        command.args(["--checks", "all", "--phases", phases, "--max-time", &seconds]);
        if let Some(seed) = options.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        command.env("GRADIENT_CONTRACT_URL", &url).env("GRADIENT_CONTRACT_TOKEN", &token);
        // What it remembers of earlier runs belongs to this one only.
        command.args(&options.arguments).current_dir(folder);
        if !ended(&mut command, Duration::from_secs(options.seconds) + MARGIN)?.success() {
            bail!("the server and its description differ; each failure above has a curl command that shows it");
        }
    }
    Ok(())
}

/// Runs it to its end, which it is expected to find by itself; one that does not is ended.
fn ended(command: &mut Command, limit: Duration) -> Result<ExitStatus> {
    let mut child = command.spawn().context("starting schemathesis")?;
    let status = wait::until("schemathesis to end", limit, || anyhow::Ok(child.try_wait()?));
    if status.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    status
}
