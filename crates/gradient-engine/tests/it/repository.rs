//! Repositories to evaluate.

use std::process::Command;

use gradient_domain::{Concurrency, Moment, OrganizationId, Priority, ProjectId, Publish};
use gradient_engine::Project;
use gradient_storage::{Conn, projects};
use tempfile::TempDir;

use crate::world::World;

/// A git repository on this machine.
pub(crate) struct Repository(TempDir);

impl Repository {
    pub(crate) fn new() -> Self {
        let repository = Self(TempDir::new().unwrap());
        repository.git(&["init", "--quiet", "--initial-branch=main", "."]);
        repository.commit();
        repository
    }

    /// Adds a commit; its hash.
    pub(crate) fn commit(&self) -> String {
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "more"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(self.0.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for (name, value) in [("NAME", "A. U. Thor"), ("EMAIL", "author@example.org")] {
            command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A project of it that is looked at every second.
    pub(crate) fn project(&self, organization: OrganizationId, name: &str) -> Project {
        Project {
            id: ProjectId::new(),
            organization,
            name: name.parse().unwrap(),
            display_name: name.parse().unwrap(),
            description: String::new(),
            repository: self.0.path().to_str().unwrap().parse().unwrap(),
            branch: None,
            wildcard: "packages.*.#".parse().unwrap(),
            active: true,
            keep_evaluations: 30,
            concurrency: Concurrency::Skip,
            poll_interval_secs: 1,
            publish: Publish::Runtime,
            allow_ifd: false,
            priority: Priority::default(),
            last_check_at: None,
            created_by: None,
            created_at: Moment::now(),
            deleted_at: None,
        }
    }
}

/// Adds a project.
pub(crate) async fn insert(world: &World, project: Project) -> ProjectId {
    let id = project.id;
    world.storage.write(async move |conn: &mut Conn| projects::insert(conn, &project).await).await.unwrap();
    id
}
