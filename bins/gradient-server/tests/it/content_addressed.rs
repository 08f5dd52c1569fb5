//! Derivations whose outputs' paths are only known once they are built, and what needs them.

use std::collections::BTreeSet;

use gradient_test_support::deployment::answer::field;
use gradient_test_support::deployment::{NixInstall, this_system};
use serde_json::json;

use crate::trial::{Database, LIMIT, Outcome, Setting, Trial, build};

#[test]
fn sqlite_with_the_system_nix() {
    on(Database::Sqlite, Some(NixInstall::of_the_system()), a_chain_is_built_and_substituted);
}

#[test]
fn sqlite_with_a_newer_nix() {
    on(Database::Sqlite, NixInstall::newer(), a_chain_is_built_and_substituted);
}

#[test]
fn postgres_with_the_system_nix() {
    on(Database::Postgres, Some(NixInstall::of_the_system()), a_chain_is_built_and_substituted);
}

#[test]
fn postgres_with_a_newer_nix() {
    on(Database::Postgres, NixInstall::newer(), a_chain_is_built_and_substituted);
}

/// With a worker whose Nix has the feature.
fn on(database: Database, nix: Option<NixInstall>, body: fn(&mut Trial) -> Outcome) {
    let Some(nix) = nix else { return eprintln!("skipped: there is no newer Nix in /opt/nix/2.34") };
    let setting = Setting { database, nix, ..Setting::usual() };
    let Some(mut trial) = Trial::without_worker(&setting).unwrap() else { return };
    trial.installation.start_worker_with(&setting.nix, vec![feature()]).unwrap();
    trial.run(body);
}

fn feature() -> (&'static str, String) {
    ("NIX_CONFIG", "extra-experimental-features = ca-derivations".to_owned())
}

fn a_chain_is_built_and_substituted(trial: &mut Trial) -> Outcome {
    let evaluation = trial.evaluate("legacyPackages", "floating.#")?;
    let status = evaluation.wait_for_end(LIMIT)?;
    let builds = evaluation.builds()?;
    assert_eq!(status, "Completed", "{builds:?}");
    assert_eq!(builds.len(), 3, "{builds:?}");

    let outputs = evaluation.outputs()?;
    let attribute = |name: &str| format!("legacyPackages.{}.floating.{name}", this_system());
    let names = |name: &str| outputs[&attribute(name)].iter().map(|path| path[44..].to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(names("first"), ["floating-first".to_owned(), "floating-first-dev".to_owned()].into());
    assert_eq!(names("second"), ["floating-second".to_owned()].into());

    // By their paths, by a Nix that knows nothing of such derivations.
    let key = trial.installation.cache_key()?;
    let client = trial.client("client", &key)?;
    let paths: Vec<String> = outputs.values().flatten().cloned().collect();
    client.substitute(&paths)?;
    client.verify_contents()?;
    client.verify_signatures(&paths)?;
    let second = &outputs[&attribute("second")][0];
    let top = &outputs[&attribute("top")][0];
    let text = std::fs::read_to_string(client.real_path(top)).unwrap();
    assert!(text.starts_with("of the chain\n/nix/store/") && text.ends_with(&format!("{second}\n")), "{text}");

    // By their derivations, by one that asks the cache what their outputs turned out to be. It builds nothing itself.
    let flake = format!("git+{}?ref=main", trial.repository.url());
    for name in ["top", "second", "first"] {
        let client = trial.client(&format!("client-of-{name}"), &key)?;
        let found = client.substitute_attribute(&flake, &attribute(name))?;
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), outputs[&attribute(name)].iter().cloned().collect(), "{name}");
    }

    // Known by now, to the next evaluation as well.
    let again = trial.installation.evaluate("examples")?;
    assert_eq!(again.wait_for_end(LIMIT)?, "Completed");
    assert_eq!(again.outputs()?, outputs);
    assert_eq!(build(&again, "floating-second")?.get("id"), build(&evaluation, "floating-second")?.get("id"));
    Ok(())
}

#[test]
fn a_worker_without_the_feature_is_not_given_such_builds() {
    let setting = Setting::usual();
    let mut trial = Trial::without_worker(&setting).unwrap().unwrap();
    // Its Nix evaluates them all the same.
    let environment = vec![feature(), ("GRADIENT_WORKER_SYSTEM_FEATURES", "big-parallel".to_owned())];
    trial.installation.start_worker_with(&setting.nix, environment).unwrap();
    trial.run(|trial| {
        let evaluation = trial.evaluate("legacyPackages", "floating.#")?;
        let waiting = evaluation.wait_for(&["Waiting", "Failed", "Completed"], LIMIT)?;
        assert_eq!(field(&waiting, "status")?, "Waiting", "{waiting}");
        let first = build(&evaluation, "floating-first")?;
        assert_eq!(first.pointer("/waiting_reason/required_features"), Some(&json!(["ca-derivations"])), "{first}");
        trial.installation.api().post(&format!("/evals/{}", evaluation.id()), &json!({"method": "abort"}))?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Aborted");
        Ok(())
    });
}
