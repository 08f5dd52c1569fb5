//! Commits: found in repositories, and looked at again.

use std::time::Duration;

use gradient_domain::{CommitId, OrganizationId, RepositoryKind, RepositoryUrl};
use gradient_forge::HeadCommit;
use gradient_storage::{Conn, commits, projects::Project};

use crate::{Engine, EngineError, organizations};

pub use gradient_storage::commits::Commit;

/// How long a question may wait for others to be answered.
const MAX_WAIT: Duration = Duration::from_secs(5);

impl Engine {
    /// The commit with this id, as long as an evaluation refers to it.
    pub async fn evaluated_commit(&self, id: CommitId) -> Result<Option<Commit>, EngineError> {
        let find = async move |conn: &mut Conn| {
            let is_evaluated = commits::is_evaluated(conn, id).await?;
            Ok(commits::lookup(conn, id).await?.filter(|_| is_evaluated))
        };
        Ok(self.storage().read(find).await?)
    }

    /// The commit, when there is one with this id.
    pub async fn find_commit(&self, id: CommitId) -> Result<Option<Commit>, EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| commits::lookup(conn, id).await).await?)
    }

    /// Asks the project's repository for its head, or for the given commit; reached with the organization's SSH key. `Busy` when
    /// others of the organization, or too many at all, are being asked and do not answer.
    pub async fn resolve_commit(&self, project: &Project, commit: Option<&str>) -> Result<HeadCommit, EngineError> {
        let _share = self.asking().take(project.organization, MAX_WAIT).await?;
        self.ask_repository(project, commit).await
    }

    /// The same, for those who see to it themselves that not too many are asked.
    pub(crate) async fn ask_repository(&self, project: &Project, commit: Option<&str>) -> Result<HeadCommit, EngineError> {
        self.resolve(project.organization, &project.repository, project.branch.as_deref(), commit).await
    }

    async fn resolve(
        &self,
        organization: OrganizationId,
        repository: &RepositoryUrl,
        branch: Option<&str>,
        commit: Option<&str>,
    ) -> Result<HeadCommit, EngineError> {
        let access = match repository.kind() {
            RepositoryKind::Ssh => Some(organizations::ssh_access(self, organization).await?),
            RepositoryKind::Https | RepositoryKind::Http | RepositoryKind::Git | RepositoryKind::Local => None,
        };
        let found = match commit {
            Some(commit) => self.forge().commit(repository, commit, access.as_ref()).await?,
            None => self.forge().head(repository, branch, access.as_ref()).await?,
        };
        if let Some(known_hosts) = &found.known_hosts {
            organizations::remember_hosts(self, organization, known_hosts.clone()).await?;
        }
        Ok(found)
    }
}
