//! One of everything, so that requests find something: made as a person makes it, through the REST API and with a real worker.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::answer::{field, list, text};
use gradient_test_support::deployment::{CacheVisibility, FlakeRepository, Installation, NixInstall, this_system};
use serde_json::{Value, json};

/// One build takes seconds.
const LIMIT: Duration = Duration::from_mins(3);

/// The name of the organization.
const ORGANIZATION: &str = "planted";

/// The name of the cache.
const CACHE: &str = "planted-cache";

/// The name of the project.
const PROJECT: &str = "examples";

/// A flake whose only package has a log, a file in a folder, and something to download.
const FLAKE: &str = r#"{
  outputs = { self }: {
    packages.SYSTEM.manual = derivation {
      name = "manual-1.0";
      system = "SYSTEM";
      builder = "/bin/sh";
      PATH = "/bin:/usr/bin";
      nonce = builtins.readFile ./nonce;
      args = [ "-e" "-c" ''
        echo writing the manual
        mkdir -p $out/nix-support
        echo "see $out" > $out/manual.txt
        echo "doc text $out/manual.txt" > $out/nix-support/hydra-build-products
      '' ];
    };
  };
}"#;

/// The values that there are, by the names that the settings of schemathesis bind to parameters.
pub(super) struct Seeds(Vec<(&'static str, Vec<String>)>);

impl Seeds {
    pub(super) fn plant(installation: &mut Installation, folder: &Path) -> Result<Self> {
        installation.register_user()?;
        installation.create_organization(CacheVisibility::Public)?;
        let worker = installation.register_worker()?.to_owned();
        let repository = FlakeRepository::create(&folder.join("repository"))?;
        repository.write("flake.nix", &FLAKE.replace("SYSTEM", &this_system()))?;
        repository.commit("something to download")?;
        installation.create_project(PROJECT, &repository.url(), &format!("packages.{}.#", this_system()))?;
        installation.start_worker(&NixInstall::of_the_system())?;
        let evaluation = installation.evaluate(PROJECT)?;
        let status = evaluation.wait_for_end(LIMIT)?;
        if status != "Completed" {
            bail!("the evaluation is {status}: {:?}", evaluation.messages()?);
        }
        let build = evaluation.build("manual-1.0")?.context("the evaluation has no build")?;

        let api = installation.api();
        let (organization, cache) = (format!("/orgs/{}", Installation::ORGANIZATION), format!("/caches/{}", Installation::CACHE));
        let role = json!({"name": "readers", "permissions": ["viewOrg"]});
        api.post(&format!("{organization}/roles"), &role)?;
        api.post(&format!("{cache}/roles"), &json!({"name": "readers", "permissions": ["viewCache"]}))?;
        api.post("/user/keys", &json!({"name": "ci", "permissions": ["viewOrg"]}))?;
        let upstream = json!({"display_name": "Upstream", "url": "https://cache.example.org", "public_key": UPSTREAM_KEY});
        api.put(&format!("{cache}/upstreams"), &upstream)?;

        let output = text(build.pointer("/outputs/out").unwrap_or(&Value::Null))?.to_owned();
        let output = output.rsplit('/').next().unwrap_or_default().to_owned();
        let (hash, _) = output.split_once('-').context("the output is no store path")?;
        api.post(&format!("{cache}/pins"), &json!({"hash": hash}))?;

        // Examples of the description, such as that of a deletion, must not meet what is planted.
        api.patch(&organization, &json!({"name": ORGANIZATION}))?;
        api.patch(&cache, &json!({"name": CACHE}))?;

        let derivation = field(&build, "derivation_path")?.rsplit('/').next().unwrap_or_default().to_owned();
        let (organization, cache) = (format!("/orgs/{ORGANIZATION}"), format!("/caches/{CACHE}"));
        Ok(Self(vec![
            ("org", vec![ORGANIZATION.to_owned()]),
            ("project", vec![PROJECT.to_owned()]),
            ("cache", vec![CACHE.to_owned()]),
            ("worker", vec![worker]),
            ("evaluation", vec![evaluation.id().to_owned()]),
            ("build", vec![field(&build, "id")?.to_owned()]),
            ("commit", vec![field(&evaluation.get()?, "commit")?.to_owned()]),
            ("org_role", custom_roles(&api.get(&format!("{organization}/roles"))?)?),
            ("cache_role", custom_roles(&api.get(&format!("{cache}/roles"))?)?),
            ("key", ids(&api.get("/user/keys")?)?),
            ("upstream", ids(&api.get(&format!("{cache}/upstreams"))?)?),
            ("hash", vec![hash.to_owned()]),
            ("nar", vec![nar_of(installation, hash)?]),
            ("derivation", vec![derivation]),
            ("path", vec!["manual.txt".to_owned(), "nix-support".to_owned()]),
            ("filename", vec!["manual.txt".to_owned()]),
            ("nobody", vec!["nobody".to_owned()]),
            ("no_id", vec!["550e8400-e29b-41d4-a716-446655440099".to_owned()]),
        ]))
    }

    /// As a part of schemathesis' settings.
    pub(super) fn dictionaries(&self) -> String {
        let mut text = String::new();
        for (name, values) in &self.0 {
            let _ = writeln!(text, "[dictionaries.{name}]\nvalues = {}", json!(values));
        }
        text
    }
}

/// A key that nothing is signed with.
const UPSTREAM_KEY: &str = "cache.example.org-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn ids(answer: &Value) -> Result<Vec<String>> {
    list(answer)?.iter().map(|value| Ok(field(value, "id")?.to_owned())).collect()
}

fn custom_roles(answer: &Value) -> Result<Vec<String>> {
    let roles = list(answer.get("roles").unwrap_or(&Value::Null))?;
    let custom = roles.iter().filter(|role| role.get("built_in") == Some(&json!(false)));
    custom.map(|role| Ok(field(role, "id")?.to_owned())).collect()
}

/// The name of the file that the NAR of this store path is.
fn nar_of(installation: &Installation, hash: &str) -> Result<String> {
    let (_, narinfo) = installation.api().get_raw(&format!("/cache/{CACHE}/{hash}.narinfo"), None)?;
    let narinfo = String::from_utf8(narinfo)?;
    let url = narinfo.lines().find_map(|line| line.strip_prefix("URL: nar/")).context("the narinfo has no URL")?;
    Ok(url.to_owned())
}
