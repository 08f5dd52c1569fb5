//! Projects: which repository of an organization is evaluated, and how.

use gradient_domain::{
    Concurrency, DisplayName, Moment, OrganizationId, Priority, ProjectId, ProjectName, Publish, RepositoryUrl, UserId, Username,
    Wildcard,
};
use gradient_storage::{Conn, evaluations, projects, users};

use crate::{Engine, EngineError, evaluations::end_rows};

pub use gradient_storage::projects::{Project, ProjectChanges};

/// A project that a user makes.
#[derive(Debug)]
pub struct NewProject {
    /// Its name.
    pub name: ProjectName,
    /// What people read.
    pub display_name: DisplayName,
    /// What it is about.
    pub description: String,
    /// Where the flake is.
    pub repository: RepositoryUrl,
    /// Which branch; the repository's own when there is none.
    pub branch: Option<String>,
    /// Which attributes are built.
    pub wildcard: Wildcard,
    /// What a new evaluation does to an older one.
    pub concurrency: Concurrency,
    /// How many evaluations are kept.
    pub keep_evaluations: i32,
    /// Seconds between looks at the repository; 0 is off.
    pub poll_interval_secs: i32,
    /// What the caches get.
    pub publish: Publish,
    /// Whether evaluating may build.
    pub allow_ifd: bool,
    /// How early its builds come.
    pub priority: Priority,
}

impl Engine {
    /// The project of this name in an organization.
    pub async fn find_project(&self, organization: OrganizationId, name: ProjectName) -> Result<Option<Project>, EngineError> {
        let find = async move |conn: &mut Conn| projects::lookup_by_name(conn, organization, &name).await;
        Ok(self.storage().read(find).await?)
    }

    /// The projects of an organization, by name, and how many there are.
    pub async fn projects(
        &self,
        organization: OrganizationId,
        limit: u32,
        offset: u32,
    ) -> Result<(Vec<Project>, i64), EngineError> {
        let page = async move |conn: &mut Conn| projects::page(conn, organization, limit.into(), offset.into()).await;
        Ok(self.storage().read(page).await?)
    }

    /// Makes a project. Whether the repository can be reached, an evaluation will show.
    pub async fn create_project(
        &self,
        organization: OrganizationId,
        user: UserId,
        wanted: NewProject,
    ) -> Result<ProjectId, EngineError> {
        self.check_project(Some(&wanted.repository), wanted.keep_evaluations, wanted.poll_interval_secs)?;
        let id = ProjectId::new();
        let project = Project {
            id,
            organization,
            name: wanted.name,
            display_name: wanted.display_name,
            description: wanted.description,
            repository: wanted.repository,
            branch: wanted.branch,
            wildcard: wanted.wildcard,
            active: true,
            keep_evaluations: wanted.keep_evaluations,
            concurrency: wanted.concurrency,
            poll_interval_secs: wanted.poll_interval_secs,
            publish: wanted.publish,
            allow_ifd: wanted.allow_ifd,
            priority: wanted.priority,
            last_check_at: None,
            created_by: Some(user),
            created_at: Moment::now(),
            deleted_at: None,
        };
        self.storage().write(async move |conn: &mut Conn| projects::insert(conn, &project).await).await?;
        Ok(id)
    }

    /// Changes a project. Evaluations that run go on as they began.
    pub async fn change_project(&self, id: ProjectId, changes: ProjectChanges) -> Result<(), EngineError> {
        let keep = changes.keep_evaluations.unwrap_or(1);
        self.check_project(changes.repository.as_ref(), keep, changes.poll_interval_secs.unwrap_or(0))?;
        Ok(self.storage().write(async move |conn: &mut Conn| projects::set(conn, id, &changes).await).await?)
    }

    /// Hides a project at once and ends its work.
    pub async fn delete_project(&self, id: ProjectId) -> Result<(), EngineError> {
        let now = Moment::now();
        let delete = async move |conn: &mut Conn| {
            projects::set_deleted(conn, id, now).await?;
            let running = evaluations::unfinished_of_project(conn, id).await?;
            end_rows(conn, &running, now).await?;
            Ok(running)
        };
        let running = self.storage().transaction(delete).await?;
        self.something_to_reap().notify_one();
        self.stop_aborted(running).await
    }

    /// The name of a user, as long as there is one.
    pub async fn username(&self, id: UserId) -> Result<Option<Username>, EngineError> {
        let names = self.storage().read(async move |conn: &mut Conn| users::usernames(conn, &[id]).await).await?;
        Ok(names.into_iter().next().map(|(_, name)| name))
    }

    fn check_project(
        &self,
        repository: Option<&RepositoryUrl>,
        keep_evaluations: i32,
        poll_interval_secs: i32,
    ) -> Result<(), EngineError> {
        let invalid = |field, message: &str| Err(EngineError::Invalid { field, message: message.to_owned() });
        if repository.is_some_and(RepositoryUrl::is_local) && !self.settings().allow_local_repositories {
            return invalid("repository", "repositories on the server's own disk are not allowed");
        }
        if keep_evaluations < 1 {
            return invalid("keep_evaluations", "must be at least 1");
        }
        if poll_interval_secs < 0 {
            return invalid("poll_interval_secs", "must be 0 (off) or a number of seconds");
        }
        Ok(())
    }
}
