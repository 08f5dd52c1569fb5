//! One of everything, so that requests find something: made as a person makes it, through the REST API and with a real worker.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use gradient_test_support::deployment::{Api, CacheVisibility, FlakeRepository, Installation, NixInstall, answer, this_system};
use serde_json::{Value, json};

/// Building the examples takes seconds.
const LIMIT: Duration = Duration::from_mins(3);

/// The name of the project.
const PROJECT: &str = "examples";

/// Parameters of paths, each with values that there are.
pub(super) struct Seeds(Vec<(&'static str, Vec<String>)>);

impl Seeds {
    pub(super) fn plant(installation: &mut Installation, folder: &Path) -> Result<Self> {
        installation.register_user()?;
        installation.create_organization(CacheVisibility::Public)?;
        let worker = installation.register_worker()?.to_owned();
        let repository = FlakeRepository::create(&folder.join("repository"))?;
        let wildcard = format!("packages.{}.hello", this_system());
        installation.create_project(PROJECT, &repository.url(), &wildcard)?;
        installation.start_worker(&NixInstall::of_the_system())?;
        let evaluation = installation.evaluate(PROJECT)?;
        let status = evaluation.wait_for_end(LIMIT)?;
        if status != "Completed" {
            bail!("the evaluation is {status}: {:?}", evaluation.messages()?);
        }
        let api = installation.api();
        let organization = format!("/orgs/{}", Installation::ORGANIZATION);
        let role = json!({"name": "readers", "permissions": ["viewOrg"]});
        api.post(&format!("{organization}/roles"), &role)?;
        api.post("/user/keys", &json!({"name": "ci", "permissions": ["viewOrg"]}))?;

        let evaluation_object = evaluation.get()?;
        let ids = |values: &[Value]| values.iter().map(|value| Ok(answer::field(value, "id")?.to_owned())).collect::<Result<_>>();
        Ok(Self(vec![
            ("org", vec![Installation::ORGANIZATION.to_owned()]),
            ("project", vec![PROJECT.to_owned()]),
            ("cache", vec![Installation::CACHE.to_owned()]),
            ("worker_id", vec![worker]),
            ("evaluation", vec![evaluation.id().to_owned()]),
            ("build", ids(&evaluation.builds()?)?),
            ("commit", vec![answer::field(&evaluation_object, "commit")?.to_owned()]),
            ("role", custom_roles(api, &organization)?),
            ("key", ids(answer::list(&api.get("/user/keys")?)?)?),
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

fn custom_roles(api: &Api, organization: &str) -> Result<Vec<String>> {
    let answer = api.get(&format!("{organization}/roles"))?;
    let roles = answer::list(answer.get("roles").unwrap_or(&Value::Null))?;
    let custom = roles.iter().filter(|role| role.get("built_in") == Some(&json!(false)));
    custom.map(|role| Ok(answer::field(role, "id")?.to_owned())).collect()
}
