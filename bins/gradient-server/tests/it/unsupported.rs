//! Derivations of kinds that are not built: they fail with a reason, and nothing else does.

use gradient_test_support::deployment::NixInstall;
use gradient_test_support::deployment::answer::{field, list};
use serde_json::{Value, json};

use crate::trial::{Database, LIMIT, Outcome, Setting, Trial, build};

const IMPURE: &str = "extra-experimental-features = impure-derivations ca-derivations";
const DYNAMIC: &str = "extra-experimental-features = dynamic-derivations ca-derivations";

#[test]
fn impure_ones_of_the_system_nix() {
    on(Database::Sqlite, Some(NixInstall::of_the_system()), IMPURE, impure_ones_fail);
}

#[test]
fn impure_ones_of_a_newer_nix_on_postgres() {
    on(Database::Postgres, NixInstall::newer(), IMPURE, impure_ones_fail);
}

#[test]
fn dynamic_ones() {
    on(Database::Sqlite, NixInstall::newer(), DYNAMIC, dynamic_ones_fail);
}

#[test]
fn dynamic_ones_on_postgres() {
    on(Database::Postgres, NixInstall::newer(), DYNAMIC, dynamic_ones_fail);
}

/// With a worker whose Nix evaluates such derivations.
fn on(database: Database, nix: Option<NixInstall>, features: &str, body: fn(&mut Trial) -> Outcome) {
    let Some(nix) = nix else { return eprintln!("skipped: there is no newer Nix in /opt/nix/2.34") };
    let setting = Setting { database, nix, ..Setting::usual() };
    let Some(mut trial) = Trial::without_worker(&setting).unwrap() else { return };
    trial.installation.start_worker_with(&setting.nix, vec![("NIX_CONFIG", features.to_owned())]).unwrap();
    trial.run(body);
}

fn impure_ones_fail(trial: &mut Trial) -> Outcome {
    fail(trial, "impure", &["impure"], "impure derivations are not supported")?;
    let evaluation = trial.installation.evaluate("examples")?;
    evaluation.wait_for_end(LIMIT)?;
    assert_eq!(field(&build(&evaluation, "impure-user")?, "status")?, "DependencyFailed");
    Ok(())
}

fn dynamic_ones_fail(trial: &mut Trial) -> Outcome {
    // The derivation that makes one has the name of what it makes.
    fail(trial, "dynamic", &["dynamic.drv", "dynamic-user"], "dynamic derivations are not supported")
}

/// Evaluates a set in which these builds have to fail with this reason, without an attempt at them, and another one is built.
fn fail(trial: &mut Trial, set: &str, unsupported: &[&str], reason: &str) -> Outcome {
    let evaluation = trial.evaluate("legacyPackages", &format!("{set}.#"))?;
    assert_eq!(evaluation.wait_for_end(LIMIT)?, "Failed");
    for name in unsupported {
        let build = build(&evaluation, name)?;
        assert_eq!(field(&build, "status")?, "Failed", "{build}");
        assert_eq!(build.pointer("/failure/kind"), Some(&json!("unsupported_derivation")), "{build}");
        let message = build.pointer("/failure/message").and_then(Value::as_str);
        assert!(message.is_some_and(|message| message.contains(reason)), "{build}");
        assert_eq!(list(build.get("attempts").unwrap_or(&Value::Null))?, &[] as &[Value], "{build}");
    }
    assert_eq!(field(&build(&evaluation, &format!("{set}-beside"))?, "status")?, "Completed");
    Ok(())
}
