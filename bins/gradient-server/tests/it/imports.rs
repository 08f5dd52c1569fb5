//! Import from derivation: what evaluators build is shown as builds.

use gradient_test_support::deployment::answer::field;
use gradient_test_support::deployment::{DeploymentError, Evaluation, NixInstall, wait};
use serde_json::{Value, json};

use crate::trial::{Database, LIMIT, Outcome, Setting, Trial, build};

const FLAKE: &str = r#"{
  outputs = { self }: let
    nonce = builtins.readFile ./nonce;
    importing = system: let
      mk = name: script: extra: derivation ({
        inherit name nonce system;
        builder = "/bin/sh"; PATH = "/bin:/usr/bin"; args = [ "-e" "-c" script ];
      } // extra);
      below = mk "below-import" "echo below | tee $out" { };
      made = mk "made-import" ''echo making the import; cat $below >&2; echo '"named-by-import"' > $out'' { inherit below; };
      broken = mk "broken-import" "echo about to break; exit 3" { };
      endless = mk "endless-import" "echo begun; while :; do sleep 1; done" { };
    in {
      importing = {
        good = mk (import made) "echo good | tee $out" { };
        bad = import broken;
        worse = import broken;
      };
      waiting.endless = mk (import endless) "" { };
    };
  in {
    legacyPackages = { x86_64-linux = importing "x86_64-linux"; aarch64-linux = importing "aarch64-linux"; };
  };
}"#;

fn evaluate(trial: &Trial, wildcard: &str) -> Result<Evaluation, DeploymentError> {
    trial.repository.write("flake.nix", FLAKE)?;
    trial.repository.commit("a flake that imports from what it builds")?;
    trial.evaluate("legacyPackages", wildcard)
}

fn page(trial: &Trial, evaluation: &Evaluation, query: &str) -> Result<(Vec<String>, Value), DeploymentError> {
    let page = trial.installation.api().get(&format!("/evals/{}/builds?{query}", evaluation.id()))?;
    let builds = page.get("builds").and_then(Value::as_array).expect("a list");
    let line = |build: &Value| Ok([field(build, "kind")?, field(build, "name")?, field(build, "status")?].join(" "));
    let lines = builds.iter().map(line).collect::<Result<_, DeploymentError>>()?;
    Ok((lines, page.get("total").cloned().unwrap_or_default()))
}

fn imports_are_builds_of_their_own_kind(trial: &mut Trial) -> Outcome {
    let evaluation = evaluate(trial, "importing.#")?;
    assert_eq!(evaluation.wait_for_end(LIMIT)?, "Failed", "two attributes do");

    // Two evaluators are at it, so the order of what does not need each other is open.
    let (mut lines, total) = page(trial, &evaluation, "limit=100")?;
    assert_eq!((lines.len(), total), (4, json!(4)), "{lines:?}");
    assert_eq!(lines.pop().expect("four"), "build named-by-import Completed");
    lines.sort();
    assert_eq!(lines, ["ifd below-import Completed", "ifd broken-import Failed", "ifd made-import Completed"]);
    assert_eq!(page(trial, &evaluation, "status=Failed")?, (vec!["ifd broken-import Failed".to_owned()], json!(1)));
    let of_itself = page(trial, &evaluation, "limit=1&offset=3")?;
    assert_eq!(of_itself, (vec!["build named-by-import Completed".to_owned()], json!(4)));
    assert_eq!(evaluation.get()?.pointer("/builds/total"), Some(&json!(1)), "the others are not waited for");

    let api = trial.installation.api();
    let made = build(&evaluation, "made-import")?;
    let id = field(&made, "id")?;
    assert_eq!((field(&made, "kind")?, field(&made, "evaluation")?), ("ifd", evaluation.id()), "{made}");
    assert!(made.get("worker").is_some_and(Value::is_string), "{made}");
    assert_eq!(api.get(&format!("/builds/{id}/log"))?, json!("making the import\nbelow\n"));
    let stream: Vec<String> = api.stream(&format!("/builds/{id}/log"))?.collect::<Result<_, _>>()?;
    assert_eq!(stream.concat(), "making the import\nbelow\n");
    let lines: Vec<String> = api.stream(&format!("/evals/{}/builds", evaluation.id()))?.collect::<Result<_, _>>()?;
    assert!(lines.iter().any(|line| line.trim_end() == "made-import> making the import"), "{lines:?}");

    let broken = build(&evaluation, "broken-import")?;
    assert_eq!(broken.pointer("/failure/kind"), Some(&json!("permanent")), "{broken}");
    assert_eq!(broken.pointer("/failure/log_tail"), Some(&json!("about to break\n")), "{broken}");
    assert!(broken.pointer("/failure/message").is_some_and(|message| message.to_string().contains("exit code 3")), "{broken}");
    let why = api.get(&format!("/builds/{}/why", field(&broken, "id")?))?;
    assert!(field(&why, "sentence")?.contains("what imports from it"), "{why}");
    let messages = evaluation.messages()?;
    assert_eq!(messages.iter().filter(|message| message.to_string().contains("broken-import")).count(), 2, "{messages:?}");
    Ok(())
}

mod everywhere {
    use super::*;

    #[test]
    fn sqlite_with_the_system_nix() {
        on(Database::Sqlite, Some(NixInstall::of_the_system()));
    }

    #[test]
    fn postgres_with_a_newer_nix() {
        on(Database::Postgres, NixInstall::newer());
    }

    fn on(database: Database, nix: Option<NixInstall>) {
        let Some(nix) = nix else { return eprintln!("skipped: there is no newer Nix in /opt/nix/2.34") };
        let setting = Setting { database, nix, ..Setting::usual() };
        if let Some(trial) = Trial::start(&setting).unwrap() {
            trial.run(imports_are_builds_of_their_own_kind);
        }
    }
}

#[test]
fn an_import_that_runs_is_shown_and_ends_with_its_evaluation() {
    Trial::usual().unwrap().run(|trial| {
        let evaluation = evaluate(trial, "waiting.#")?;
        let id = wait::until("the import to print something", LIMIT, || {
            let Some(endless) = evaluation.build("endless-import")? else { return Ok(None) };
            let id = field(&endless, "id")?.to_owned();
            let has_begun = trial.installation.api().get(&format!("/builds/{id}/log"))? == json!("begun\n");
            Ok::<_, DeploymentError>(has_begun.then_some(id))
        })?;
        assert_eq!(page(trial, &evaluation, "")?.0, ["ifd endless-import Building"]);
        let api = trial.installation.api();
        let lines = api.stream(&format!("/builds/{id}/log"))?;
        api.post(&format!("/evals/{}", evaluation.id()), &json!({"method": "abort"}))?;
        assert_eq!(lines.collect::<Result<Vec<_>, _>>()?.concat(), "begun\n");
        assert_eq!(page(trial, &evaluation, "")?.0, ["ifd endless-import Aborted"]);
        Ok(())
    });
}
