//! Sources that were sent become signed store paths, and files to download.

use gradient_test_support::deployment::answer::field;
use gradient_test_support::deployment::{DeploymentError, Installation, this_system, wait};
use serde_json::{Value, json};

use crate::trial::{LIMIT, Trial};

/// A flake whose package runs a program of the sources, refers to them, and has something to download.
const FLAKE: &str = r#"{
  outputs = { self }: {
    packages.SYSTEM.tool = derivation {
      name = "tool-1.0";
      system = "SYSTEM";
      builder = "/bin/sh";
      PATH = "/bin:/usr/bin";
      src = self;
      args = [ "-e" "-c" ''
        mkdir -p $out/nix-support
        $src/scripts/report.sh $src/data.txt > $out/report.txt
        echo $src > $out/sources
        echo "report text $out/report.txt" > $out/nix-support/hydra-build-products
      '' ];
    };
  };
}"#;

#[test]
fn sources_become_a_signed_closure_and_a_download() {
    Trial::usual().unwrap().run(|trial| {
        let flake = FLAKE.replace("SYSTEM", &this_system());
        let derivation = format!("packages.{}.#", this_system());
        // New to the machine's store each time.
        let data = format!("data of {}", std::process::id());
        let fields = [
            ("organization", Installation::ORGANIZATION),
            ("derivation", &derivation),
            ("file:flake.nix", &flake),
            ("file:scripts/report.sh", "#!/bin/sh\necho \"report on $(cat \"$1\")\"\n"),
            ("file:data.txt", &data),
        ];
        let api = trial.installation.api();
        let answer = api.post_form("/builds", &fields.map(|(name, value)| (name, value.as_bytes())))?;
        let evaluation = answer.as_str().expect("the evaluation's id");
        let ended = wait::until("the evaluation to end", LIMIT, || {
            let evaluation = api.get(&format!("/evals/{evaluation}"))?;
            let ended = ["Completed", "Failed", "Aborted"].contains(&field(&evaluation, "status")?);
            Ok::<_, DeploymentError>(ended.then_some(evaluation))
        })?;
        let messages = api.get(&format!("/evals/{evaluation}/messages"))?;
        assert_eq!(field(&ended, "status")?, "Completed", "{messages}");

        let page = api.get(&format!("/evals/{evaluation}/builds"))?;
        let tool = page.pointer("/builds/0").expect("a build");
        assert_eq!((field(tool, "name")?, tool.get("has_artefacts")), ("tool-1.0", Some(&json!(true))));
        let id = field(tool, "id")?;
        let build = api.get(&format!("/builds/{id}"))?;
        let out = build.pointer("/outputs/out").and_then(Value::as_str).expect("an output").to_owned();

        // The sources come along, as the output refers to them.
        let client = trial.client("client", &trial.installation.cache_key()?)?;
        client.substitute(std::slice::from_ref(&out))?;
        client.verify_contents()?;
        let closure = client.closure(std::slice::from_ref(&out))?;
        assert!(closure.len() == 2 && closure.iter().any(|path| path.ends_with("-source")), "{closure:?}");

        let downloads = api.get(&format!("/builds/{id}/downloads"))?;
        let report = format!("report on {data}\n");
        let expected = json!([{
            "file_type": "report", "subtype": "text", "name": "report.txt", "path": format!("{out}/report.txt"),
            "size": report.len()
        }]);
        assert_eq!(downloads, expected);
        let token = api.get(&format!("/builds/{id}/download-token"))?;
        let token = token.as_str().expect("a token");
        let path = format!("/api/v1/builds/{id}/download/report.txt");
        assert_eq!(api.get_raw(&format!("{path}?token={token}"), None)?, (200, report.into_bytes()));
        assert_eq!(api.get_raw(&path, None)?.0, 401);

        let recent = api.get("/builds/direct/recent")?;
        assert_eq!(recent.pointer("/0/evaluation_id"), Some(&json!(evaluation)));
        assert_eq!(recent.pointer("/0/status"), Some(&json!("Completed")));
        Ok(())
    });
}
