use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::{Api, DeploymentError, answer, wait};

/// An evaluation, watched through the REST API.
#[derive(Debug, Clone)]
pub struct Evaluation {
    api: Api,
    organization: String,
    project: String,
    id: String,
}

impl Evaluation {
    pub(crate) fn new(api: &Api, organization: &str, project: &str, id: &str) -> Self {
        Self { api: api.clone(), organization: organization.to_owned(), project: project.to_owned(), id: id.to_owned() }
    }

    /// The same, watched through another server's API.
    #[must_use]
    pub fn through(&self, api: &Api) -> Self {
        Self { api: api.clone(), ..self.clone() }
    }

    /// Its UUID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The evaluation object.
    pub fn get(&self) -> Result<Value, DeploymentError> {
        self.api.get(&format!("/evals/{}", self.id))
    }

    /// Waits until its status is one of these, and returns the object as it was then.
    pub fn wait_for(&self, statuses: &[&str], limit: Duration) -> Result<Value, DeploymentError> {
        let what = format!("the evaluation to become {}", statuses.join(" or "));
        wait::until(&what, limit, || {
            let evaluation = self.get()?;
            let status = answer::field(&evaluation, "status")?;
            Ok::<_, DeploymentError>(statuses.contains(&status).then_some(evaluation))
        })
    }

    /// Waits until nothing of it will change, and returns its status.
    pub fn wait_for_end(&self, limit: Duration) -> Result<String, DeploymentError> {
        let evaluation = self.wait_for(&["Completed", "Failed", "Aborted"], limit)?;
        Ok(answer::field(&evaluation, "status")?.to_owned())
    }

    /// Its builds, at most 100, in the list's short form.
    pub fn builds(&self) -> Result<Vec<Value>, DeploymentError> {
        let page = self.api.get(&format!("/evals/{}/builds?limit=100", self.id))?;
        Ok(answer::list(page.get("builds").unwrap_or(&Value::Null))?.to_vec())
    }

    /// The build of the derivation with this name, in its long form; `None` while there is none.
    pub fn build(&self, name: &str) -> Result<Option<Value>, DeploymentError> {
        for build in self.builds()? {
            if answer::field(&build, "name")? == name {
                return self.api.get(&format!("/builds/{}", answer::field(&build, "id")?)).map(Some);
            }
        }
        Ok(None)
    }

    /// Its messages.
    pub fn messages(&self) -> Result<Vec<Value>, DeploymentError> {
        Ok(answer::list(&self.api.get(&format!("/evals/{}/messages", self.id))?)?.to_vec())
    }

    /// The output paths of every entry point, by its attribute.
    pub fn outputs(&self) -> Result<BTreeMap<String, Vec<String>>, DeploymentError> {
        let path = format!("/projects/{}/{}/entry-points?evaluation_id={}", self.organization, self.project, self.id);
        let mut outputs = BTreeMap::new();
        for entry_point in answer::list(&self.api.get(&path)?)? {
            let paths = entry_point.get("outputs").and_then(Value::as_object).into_iter().flatten();
            let paths = paths.map(|(_, path)| answer::text(path).map(str::to_owned)).collect::<Result<_, _>>()?;
            outputs.insert(answer::field(entry_point, "eval")?.to_owned(), paths);
        }
        Ok(outputs)
    }
}
