//! A cache whose key is in a worker's file, and never on the server.

use std::{fs, process::Command};

use gradient_test_support::deployment::{DeploymentError, Installation, NixInstall, wait};
use serde_json::json;

use crate::trial::{Database, LIMIT, Setting, Trial};

#[test]
fn a_worker_signs_on_sqlite() {
    a_worker_signs(Database::Sqlite);
}

#[test]
fn a_worker_signs_on_postgres() {
    a_worker_signs(Database::Postgres);
}

fn a_worker_signs(database: Database) {
    let setting = Setting { database, ..Setting::usual() };
    let Some(trial) = Trial::without_worker(&setting).unwrap() else { return };
    trial.run(|trial| {
        let old = trial.installation.cache_key()?;
        let (file, key) = make_key(trial);
        let cache = format!("/caches/{}", Installation::CACHE);
        let change = json!({"signing": "worker", "public_key": key, "organization": Installation::ORGANIZATION});
        trial.installation.api().patch(&cache, &change)?;

        // Built by a worker that does not sign: nothing is served, and nothing is lost when both end.
        trial.installation.start_worker(&setting.nix)?;
        let evaluation = trial.evaluate("packages", "diamond")?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed");
        let paths: Vec<String> = evaluation.outputs()?.into_values().flatten().collect();
        assert!(trial.client("early", &old)?.substitute(&paths).is_err(), "it is served before it is signed");
        assert!(unsigned(trial, &cache)? > 0);
        trial.installation.worker().unwrap().process().stop(LIMIT)?;
        trial.installation.forget_worker();
        trial.installation.restart_server()?;

        let signs = vec![("GRADIENT_WORKER_CAPABILITIES_SIGN", "true".to_owned()), ("GRADIENT_WORKER_SIGNING_KEY_FILE", file)];
        trial.installation.start_worker_with(&setting.nix, signs)?;
        wait::until("everything to be signed", LIMIT, || {
            Ok::<_, DeploymentError>((unsigned(trial, &cache)? == 0).then_some(()))
        })?;
        for (name, nix) in [("system", Some(NixInstall::of_the_system())), ("newer", NixInstall::newer())] {
            let Some(nix) = nix else { continue };
            for (which, key) in [("old", &old), ("new", &key)] {
                let client = trial.client_with(&nix, &format!("client-{name}-{which}"), key)?;
                client.substitute(&paths)?;
                client.verify_signatures(&paths)?;
            }
        }

        let keys = trial.installation.api().get(&format!("{cache}/keys"))?;
        let of_server = keys.as_array().unwrap().iter().find(|key| key["held_by"] == "server").unwrap();
        trial.installation.api().delete(&format!("{cache}/keys/{}", of_server["id"].as_str().unwrap()))?;
        assert!(trial.client("late-old", &old)?.substitute(&paths).is_err(), "the old key is retired");
        trial.client("late-new", &key)?.substitute(&paths)
    });
}

fn unsigned(trial: &Trial, cache: &str) -> Result<i64, DeploymentError> {
    let keys = trial.installation.api().get(&format!("{cache}/keys"))?;
    Ok(keys.as_array().unwrap().iter().filter_map(|key| key["unsigned"].as_i64()).sum())
}

/// The file of a secret key, as Nix makes it, and its public key.
fn make_key(trial: &Trial) -> (String, String) {
    let file = trial.state().with_file_name("signing-key");
    let public = trial.state().with_file_name("signing-key.pub");
    let mut command = Command::new("nix-store");
    command.args(["--generate-binary-cache-key", "acme-1"]).args([&file, &public]);
    assert!(command.output().unwrap().status.success());
    (file.display().to_string(), fs::read_to_string(&public).unwrap().trim().to_owned())
}
