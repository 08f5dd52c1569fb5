//! Flakes become builds, logs and signed store paths.

use std::{collections::BTreeSet, fs, time::Duration};

use gradient_test_support::deployment::answer::field;
use gradient_test_support::deployment::{DeploymentError, NixInstall, this_system, wait};
use serde_json::{Value, json};

use crate::trial::{Database, LIMIT, Outcome, Setting, Trial, build};

/// How long a builder may outlive its evaluation.
const SECONDS: Duration = Duration::from_secs(10);

/// The same on both databases and with both Nix versions, where they are.
macro_rules! everywhere {
    ($body:ident) => {
        mod $body {
            use super::*;

            #[test]
            fn sqlite_with_the_system_nix() {
                on(Database::Sqlite, Some(NixInstall::of_the_system()));
            }

            #[test]
            fn sqlite_with_a_newer_nix() {
                on(Database::Sqlite, NixInstall::newer());
            }

            #[test]
            fn postgres_with_the_system_nix() {
                on(Database::Postgres, Some(NixInstall::of_the_system()));
            }

            #[test]
            fn postgres_with_a_newer_nix() {
                on(Database::Postgres, NixInstall::newer());
            }

            fn on(database: Database, nix: Option<NixInstall>) {
                let Some(nix) = nix else { return eprintln!("skipped: there is no newer Nix in /opt/nix/2.34") };
                let setting = Setting { database, nix, ..Setting::usual() };
                if let Some(trial) = Trial::start(&setting).unwrap() {
                    trial.run(super::$body);
                }
            }
        }
    };
}

everywhere!(a_flake_becomes_a_signed_closure);
everywhere!(a_failing_package_fails_its_dependents_only);

fn a_flake_becomes_a_signed_closure(trial: &mut Trial) -> Outcome {
    let evaluation = trial.evaluate("packages", "#")?;
    assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed", "{:?}", evaluation.messages()?);
    for build in evaluation.builds()? {
        assert_eq!(field(&build, "status")?, "Completed", "{build}");
    }

    // The logs: of one build, and of all as one stream.
    let hello = build(&evaluation, "hello-1.0")?;
    let api = trial.installation.api();
    let log = api.get(&format!("/builds/{}/log", field(&hello, "id")?))?;
    assert!(log.as_str().is_some_and(|log| log.contains("building hello")), "{log}");
    let lines: Vec<String> = api.stream(&format!("/evals/{}/builds", evaluation.id()))?.collect::<Result<_, _>>()?;
    assert!(lines.iter().any(|line| line.trim_end() == "hello-1.0> building hello"), "{lines:?}");

    // A client takes all of it, with signatures, and can run it.
    let outputs = evaluation.outputs()?;
    let attribute = format!("packages.{}.hello", this_system());
    let hello = outputs.get(&attribute).and_then(|paths| paths.first()).expect("hello has an output");
    let client = trial.client("client", &trial.installation.cache_key()?)?;
    let paths: Vec<String> = outputs.values().flatten().cloned().collect();
    client.substitute(&paths)?;
    client.verify_contents()?;
    client.verify_signatures(&paths)?;
    assert!(client.execute(&format!("{hello}/bin/hello"))?.starts_with("hello from"));
    let closure = client.closure(std::slice::from_ref(hello))?;
    assert!(closure.iter().any(|path| path.ends_with("-chain-1")), "{closure:?}");
    assert!(client.log(&trial.installation.cache_url(), hello)?.contains("building hello"));

    // Whoever trusts another key gets nothing.
    let other_key = "other-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let stranger = trial.client("stranger", other_key)?;
    assert!(stranger.substitute(std::slice::from_ref(hello)).is_err());
    Ok(())
}

fn a_failing_package_fails_its_dependents_only(trial: &mut Trial) -> Outcome {
    let evaluation = trial.evaluate("legacyPackages", "broken.#")?;
    assert_eq!(evaluation.wait_for_end(LIMIT)?, "Failed");

    let failing = build(&evaluation, "failing-1")?;
    assert_eq!(field(&failing, "status")?, "Failed");
    assert_eq!(failing.pointer("/failure/kind"), Some(&json!("permanent")), "{failing}");
    assert_eq!(field(&build(&evaluation, "depends-on-failing")?, "status")?, "DependencyFailed");
    assert_eq!(field(&build(&evaluation, "fine")?, "status")?, "Completed");

    let id = field(&failing, "id")?;
    let api = trial.installation.api();
    let log = api.get(&format!("/builds/{id}/log"))?;
    assert!(log.as_str().is_some_and(|log| log.contains("error: it broke")), "{log}");
    let stream: Vec<String> = api.stream(&format!("/builds/{id}/log"))?.collect::<Result<_, _>>()?;
    assert!(stream.concat().contains("error: it broke"), "{stream:?}");

    // What was built is there for everybody.
    let fine = evaluation.outputs()?.remove(&format!("legacyPackages.{}.broken.fine", this_system())).unwrap_or_default();
    assert_eq!(fine.len(), 1);
    let client = trial.client("client", &trial.installation.cache_key()?)?;
    client.substitute(&fine)
}

#[test]
fn a_feature_that_no_worker_has_is_waited_for() {
    Trial::usual().unwrap().run(|trial| {
        let evaluation = trial.evaluate("legacyPackages", "featured.#")?;
        let waiting = evaluation.wait_for(&["Waiting", "Failed", "Completed"], LIMIT)?;
        assert_eq!(field(&waiting, "status")?, "Waiting", "{waiting}");
        assert_eq!(waiting.pointer("/waiting_reason/kind"), Some(&json!("workers")), "{waiting}");
        assert_eq!(waiting.pointer("/waiting_reason/unmet/0/required_features"), Some(&json!(["kvm"])), "{waiting}");

        let kvm = build(&evaluation, "needs-kvm")?;
        assert_eq!(field(&kvm, "status")?, "Queued");
        assert_eq!(kvm.pointer("/waiting_reason/kind"), Some(&json!("workers")), "{kvm}");
        assert_eq!(kvm.pointer("/waiting_reason/required_features"), Some(&json!(["kvm"])), "{kvm}");
        assert_eq!(field(&build(&evaluation, "plain")?, "status")?, "Completed");

        trial.installation.api().post(&format!("/evals/{}", evaluation.id()), &json!({"method": "abort"}))?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Aborted");
        assert_eq!(field(&build(&evaluation, "needs-kvm")?, "status")?, "Aborted");
        Ok(())
    });
}

#[test]
fn an_attribute_that_throws_is_an_error_and_the_rest_is_built() {
    Trial::usual().unwrap().run(|trial| {
        let evaluation = trial.evaluate("legacyPackages", "throwing.#")?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Failed");
        assert_eq!(field(&build(&evaluation, "fine-too")?, "status")?, "Completed");
        let messages = evaluation.messages()?;
        let names_it =
            |message: &&Value| message.get("level") == Some(&json!("Error")) && message.to_string().contains("throwing.throws");
        assert_eq!(messages.iter().filter(names_it).count(), 1, "{messages:?}");
        Ok(())
    });
}

#[test]
fn a_package_says_how_long_its_own_build_may_take() {
    Trial::usual().unwrap().run(|trial| {
        let evaluation = trial.evaluate("legacyPackages", "timed.#")?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Failed");
        for (name, kind, words) in [("hasty", "timeout", "timed out after 2 seconds"), ("silent", "silent", "2 seconds")] {
            let build = build(&evaluation, name)?;
            assert_eq!(field(&build, "status")?, "Failed");
            assert_eq!(build.pointer("/failure/kind"), Some(&json!(kind)), "{build}");
            let message = build.pointer("/failure/message").and_then(Value::as_str);
            assert!(message.is_some_and(|message| message.contains(words)), "{build}");
        }
        // It sleeps for longer than what needs it may run.
        assert_eq!(field(&build(&evaluation, "slow-1")?, "status")?, "Completed");
        Ok(())
    });
}

#[test]
fn the_same_commit_again_shares_the_builds() {
    Trial::usual().unwrap().run(|trial| {
        let first = trial.evaluate("packages", "diamond")?;
        assert_eq!(first.wait_for_end(LIMIT)?, "Completed");
        let second = trial.installation.evaluate("examples")?;
        assert_eq!(second.wait_for_end(LIMIT)?, "Completed");
        assert_ne!(first.id(), second.id());
        assert_eq!(build(&first, "diamond-top")?.get("id"), build(&second, "diamond-top")?.get("id"));
        assert_eq!(second.builds()?.len(), 4);
        Ok(())
    });
}

#[test]
fn a_commit_that_changes_little_shares_the_builds() {
    Trial::usual().unwrap().run(|trial| {
        let first = trial.evaluate("packages", "chain")?;
        assert_eq!(first.wait_for_end(LIMIT)?, "Completed");
        trial.repository.write("README", "Nothing reads this.\n")?;
        trial.repository.commit("Say something")?;
        let second = trial.installation.evaluate("examples")?;
        assert_eq!(second.wait_for_end(LIMIT)?, "Completed");
        let ids = |builds: Vec<Value>| {
            builds.iter().map(|build| field(build, "id").map(str::to_owned)).collect::<Result<BTreeSet<_>, _>>()
        };
        let (first, second) = (ids(first.builds()?)?, ids(second.builds()?)?);
        assert_eq!((first.len(), &first), (4, &second), "all of the chain is shown");
        Ok(())
    });
}

#[test]
fn a_running_build_is_aborted_with_its_evaluation() {
    Trial::usual().unwrap().run(|trial| {
        let evaluation = trial.evaluate("legacyPackages", "endless.#")?;
        wait::until("the endless build to run", LIMIT, || {
            let Some(endless) = evaluation.build("endless")? else { return Ok(None) };
            let building = field(&endless, "status")? == "Building";
            Ok::<_, DeploymentError>(building.then_some(()))
        })?;
        // `Building` is said of a build that a worker has taken; its builder starts a moment later.
        let nonce = trial.repository.nonce()?;
        wait::until("its builder to run", SECONDS, || Ok::<_, DeploymentError>(runs(&nonce).then_some(())))?;
        trial.installation.api().post(&format!("/evals/{}", evaluation.id()), &json!({"method": "abort"}))?;
        // What was answered is durable.
        assert_eq!(field(&evaluation.get()?, "status")?, "Aborted");
        assert_eq!(field(&build(&evaluation, "endless")?, "status")?, "Aborted");
        wait::until("the builder to be gone", SECONDS, || Ok::<_, DeploymentError>((!runs(&nonce)).then_some(())))?;
        wait::until("the worker to be free again", SECONDS, || {
            let live = trial.installation.live_worker()?;
            Ok(live.filter(|live| live.get("assigned_job_count") == Some(&json!(0))).map(drop))
        })
    });
}

/// Whether a process of this machine has this text in its command line.
fn runs(text: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let mut commands = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    commands.any(|command| String::from_utf8_lossy(&command).contains(text))
}
