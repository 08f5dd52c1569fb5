//! A repository for workers to fetch.

use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::Client;

/// A git repository with one commit.
pub(super) struct Repository(TempDir);

impl Repository {
    pub(super) fn new() -> Self {
        let repository = Self(TempDir::new().unwrap());
        repository.git(&["init", "--quiet", "--initial-branch=main", "."]);
        repository.commit();
        repository
    }

    /// Adds a commit; its hash.
    pub(super) fn commit(&self) -> String {
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "more"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(self.0.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for (name, value) in [("NAME", "A. U. Thor"), ("EMAIL", "author@example.org")] {
            command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A project `web` of it in the organization.
    pub(super) async fn project(&self, client: Client<'_>, organization: &str) {
        let body = json!({
            "name": "web", "display_name": "Web", "repository": self.0.path(), "wildcard": "packages.*", "concurrency": "all",
        });
        client.put(&format!("/projects/{organization}"), body).await.message();
    }
}
