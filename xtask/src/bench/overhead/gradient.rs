//! What server and worker take for it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gradient_domain::Moment;
use gradient_test_support::deployment::{
    Api, CacheVisibility, Evaluation, FlakeRepository, Installation, NixInstall, Programs, answer, this_system,
};
use serde_json::{Value, json};

use super::{Packages, Shape, write_expression};
use crate::bench::database::{Database, Throwaway};

/// The name of the project.
const PROJECT: &str = "packages";

/// How long a machine may take for all of it.
const LIMIT: Duration = Duration::from_mins(10);

/// Builds in one page of a list.
const PAGE: usize = 100;

/// How long it took.
#[derive(Debug)]
pub(super) struct Built {
    /// From the first build's start to the last output in the cache.
    pub(super) publishing: Duration,
    /// From the trigger to the end of the evaluation.
    pub(super) whole: Duration,
}

/// Builds the packages with a new server and one worker with two slots; all outputs are in the cache then.
pub(super) fn build(programs: &Programs, database: Database, packages: &Packages, folder: &Path) -> Result<Built> {
    std::fs::create_dir_all(folder)?;
    let throwaway = Throwaway::create(database)?;
    let mut installation = Installation::start(programs, folder, throwaway.url())?;
    let measured = measure(&mut installation, packages, folder);
    if measured.is_err() {
        eprintln!("{}", installation.log_tails());
    }
    let built = measured?;
    installation.stop()?;
    Ok(built)
}

fn measure(installation: &mut Installation, packages: &Packages, folder: &Path) -> Result<Built> {
    installation.register_user()?;
    installation.create_organization(CacheVisibility::Public)?;
    let repository = FlakeRepository::create(&folder.join("repository"))?;
    write_expression(&folder.join("repository"))?;
    repository.write("flake.nix", include_str!("flake.nix"))?;
    let (shape, count, nonce) = (packages.shape.name(), packages.count, &packages.nonce);
    repository.write("parameters.json", &json!({"shape": shape, "count": count, "nonce": nonce}).to_string())?;
    repository.commit("packages that cost nothing")?;
    installation.create_project(PROJECT, &repository.url(), &format!("packages.{}.*", this_system()))?;
    installation.register_worker()?;
    installation.start_worker(&NixInstall::of_the_system())?;

    let started = Instant::now();
    let evaluation = installation.evaluate(PROJECT)?;
    let status = evaluation.wait_for_end(LIMIT)?;
    let whole = started.elapsed();
    if status != "Completed" {
        bail!("the evaluation is {status}: {:?}", evaluation.messages()?);
    }
    let builds = builds(installation.api(), &evaluation)?;
    if builds.len() != packages.count {
        bail!("{} builds instead of {}", builds.len(), packages.count);
    }
    expect_published(installation, packages, &evaluation)?;
    let first = builds.iter().map(|(started, _)| *started).min().context("no build")?;
    let last = builds.iter().map(|(_, finished)| *finished).max().context("no build")?;
    Ok(Built { publishing: last.since(first), whole })
}

/// When each build started, and when its outputs were published, which is one transaction with its end.
fn builds(api: &Api, evaluation: &Evaluation) -> Result<Vec<(Moment, Moment)>> {
    let mut times = Vec::new();
    loop {
        let page = api.get(&format!("/evals/{}/builds?limit={PAGE}&offset={}", evaluation.id(), times.len()))?;
        let builds = answer::list(page.get("builds").unwrap_or(&Value::Null))?;
        for build in builds {
            let build = api.get(&format!("/builds/{}", answer::field(build, "id")?))?;
            let moment = |field: &str| serde_json::from_value(build.get(field).cloned().unwrap_or_default());
            times.push((moment("started_at").context("no start")?, moment("finished_at").context("no end")?));
        }
        if builds.len() < PAGE {
            return Ok(times);
        }
    }
}

/// An error when the cache does not have what was built.
fn expect_published(installation: &Installation, packages: &Packages, evaluation: &Evaluation) -> Result<()> {
    let outputs: Vec<String> = evaluation.outputs()?.into_values().flatten().collect();
    let expected = if packages.shape == Shape::Wide { packages.count } else { 1 };
    if outputs.len() != expected {
        bail!("{} entry points have outputs instead of {expected}", outputs.len());
    }
    let statistics = installation.api().get(&format!("/caches/{}/stats", Installation::CACHE))?;
    if statistics.get("paths").and_then(Value::as_u64) != Some(u64::try_from(packages.count)?) {
        bail!("not all outputs are in the cache: {statistics}");
    }
    Ok(())
}
