//! Clean ends, and beginnings after them.

use std::time::Duration;

use gradient_test_support::deployment::answer::field;
use gradient_test_support::deployment::{DeploymentError, Evaluation, wait};

use serde_json::json;

use crate::trial::{LIMIT, Trial, build};

/// How long a program may take to end when it is told twice.
const AT_ONCE: Duration = Duration::from_secs(10);

fn wait_until_building(evaluation: &Evaluation, name: &str) -> Result<(), DeploymentError> {
    wait::until(&format!("{name} to be built"), LIMIT, || {
        let Some(build) = evaluation.build(name)? else { return Ok(None) };
        Ok((field(&build, "status")? == "Building").then_some(()))
    })
}

#[test]
fn a_worker_that_is_told_to_end_finishes_its_builds() {
    Trial::usual().unwrap().run(|trial| {
        let evaluation = trial.evaluate("packages", "slow")?;
        wait_until_building(&evaluation, "slow-1")?;
        let worker = trial.installation.worker().expect("a worker").process();
        worker.terminate();
        let status = worker.wait(LIMIT)?;
        assert!(status.success(), "{status}: {}", worker.log_tail());
        assert_eq!(field(&build(&evaluation, "slow-1")?, "status")?, "Completed");
        trial.installation.forget_worker();
        Ok(())
    });
}

#[test]
fn a_worker_that_is_told_twice_ends_at_once() {
    Trial::usual().unwrap().run(|trial| {
        let evaluation = trial.evaluate("legacyPackages", "endless.#")?;
        wait_until_building(&evaluation, "endless")?;
        trial.installation.worker().expect("a worker").process().terminate();
        wait::until("the worker to drain", LIMIT, || {
            let live = trial.installation.live_worker()?;
            Ok::<_, DeploymentError>(live.filter(|live| live.get("draining") == Some(&json!(true))).map(drop))
        })?;
        let worker = trial.installation.worker().expect("a worker").process();
        worker.terminate();
        worker.wait(AT_ONCE)?;
        trial.installation.forget_worker();
        Ok(())
    });
}

#[test]
fn a_server_that_returns_adopts_what_still_runs() {
    Trial::usual().unwrap().run(|trial| {
        let evaluation = trial.evaluate("packages", "slow")?;
        wait_until_building(&evaluation, "slow-1")?;
        trial.installation.restart_server()?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed");
        let slow = build(&evaluation, "slow-1")?;
        assert_eq!(slow.get("attempts").and_then(attempts), Some(1), "{slow}");

        let paths: Vec<String> = evaluation.outputs()?.into_values().flatten().collect();
        let client = trial.client("client", &trial.installation.cache_key()?)?;
        client.substitute(&paths)
    });
}

/// The number of attempts, whether the API lists or counts them.
fn attempts(value: &serde_json::Value) -> Option<usize> {
    value.as_array().map(Vec::len).or_else(|| usize::try_from(value.as_u64()?).ok())
}
