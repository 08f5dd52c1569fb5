//! One worker for several organizations.

use std::fs;

use gradient_test_support::{
    deployment::{CacheVisibility, DeploymentError, answer::field, this_system, wait},
    nix::Store,
};
use serde_json::json;

use crate::trial::{LIMIT, Setting, Trial};

/// A second organization, which trusts neither the first one nor its packages.
const OTHER: &str = "other";

#[test]
fn what_one_organization_built_is_not_there_for_another() {
    let mut trial = Trial::without_worker(&Setting::usual()).unwrap().unwrap();
    trial.installation.create_other_organization(OTHER, "other-cache", CacheVisibility::Public).unwrap();
    trial.installation.register_worker_for(OTHER).unwrap();
    let sandbox = Store::new("").unwrap();
    let settings =
        format!("sandbox = true\nsandbox-fallback = false\nsandbox-paths = /bin={}", sandbox.home().join("bin").display());
    let environment = vec![("GRADIENT_WORKER_SEPARATE_STORES", "true".to_owned()), ("NIX_CONFIG", settings)];
    let nix = trial.nix().clone();
    trial.installation.start_worker_with(&nix, environment).unwrap();
    trial.run(|trial| {
        let api = trial.installation.api().clone();
        let live = |organization: &str| api.get(&format!("/orgs/{organization}/workers"));
        wait::until("the worker to serve both", LIMIT, || {
            let is_live = live(OTHER)?.pointer("/0/live").is_some_and(|live| !live.is_null());
            Ok::<_, DeploymentError>(is_live.then_some(()))
        })?;

        let evaluation = trial.evaluate("packages", "hello")?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed", "{:?}", evaluation.messages()?);
        let project = json!({
            "name": "examples", "display_name": "Examples", "repository": trial.repository.url(),
            "wildcard": format!("packages.{}.hello", this_system()),
        });
        api.put(&format!("/projects/{OTHER}"), &project)?;
        let again = trial.installation.evaluate_in(OTHER, "examples")?;
        assert_eq!(again.wait_for_end(LIMIT)?, "Completed", "{:?}", again.messages()?);
        for build in again.builds()? {
            assert_eq!(field(&build, "status")?, "Completed", "it is built anew: {build}");
        }

        // Each has all of it in a store of its own, and there is no third one with any of it.
        let outputs: Vec<String> = again.outputs()?.into_values().flatten().collect();
        assert_eq!(outputs, evaluation.outputs()?.into_values().flatten().collect::<Vec<_>>());
        let stores = fs::read_dir(trial.worker_state().join("stores")).unwrap();
        let having = |output: &String| {
            let at = |store: &fs::DirEntry| store.path().join("root").join(output.trim_start_matches('/')).exists();
            fs::read_dir(trial.worker_state().join("stores")).unwrap().filter(|store| at(store.as_ref().unwrap())).count()
        };
        assert_eq!(stores.count(), 3, "one for each organization, and the one of the check");
        for output in &outputs {
            assert_eq!(having(output), 2, "{output}");
        }
        Ok(())
    });
}
