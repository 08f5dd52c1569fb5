use std::{sync::Arc, time::Duration};

use gradient_domain::{RepositoryKind, RepositoryUrl};
use tokio::time::{Instant, timeout_at};

use crate::{
    ForgeError, ForgeSettings, HeadCommit, SshAccess, branch,
    commit::{advertised, parse},
    contact::Contact,
    git::{Failed, Git},
    host::Host,
    words,
};

/// Asks repositories. Each question is a process or two; how many there are at a time is the caller's business.
#[derive(Debug, Clone)]
pub struct Forge(Arc<ForgeSettings>);

impl Forge {
    /// Asks as the settings say.
    pub fn new(settings: ForgeSettings) -> Self {
        Self(Arc::new(settings))
    }

    /// The commit at the head of a branch, or of the repository's own choice of branch.
    pub async fn head(
        &self,
        repository: &RepositoryUrl,
        branch: Option<&str>,
        access: Option<&SshAccess>,
    ) -> Result<HeadCommit, ForgeError> {
        let reference = branch.map(branch::reference).transpose()?;
        let mut visit = self.visit(repository, access).await?;
        let asked = reference.as_deref().unwrap_or("HEAD");
        let answer = visit.reach(&["ls-remote", "--quiet", "--symref", "--end-of-options", "origin", asked]).await?;
        let Some((hash, branch)) = advertised(&answer, asked) else {
            return Err(branch.map_or(ForgeError::Empty, |branch| ForgeError::BranchMissing { branch: branch.to_owned() }));
        };
        if !branch::is_hash(&hash) {
            return Err(ForgeError::Unreachable { words: "the repository does not name its commits by SHA-1".to_owned() });
        }
        // Some servers give away nothing less than the whole tree; the hash is what matters.
        let commit =
            visit.describe(&hash, visit.half_time()).await.unwrap_or_else(|_| HeadCommit { hash, ..HeadCommit::default() });
        Ok(HeadCommit { branch, known_hosts: visit.contact.new_known_hosts(), ..commit })
    }

    /// A certain commit, if the repository has it and gives it away.
    pub async fn commit(
        &self,
        repository: &RepositoryUrl,
        hash: &str,
        access: Option<&SshAccess>,
    ) -> Result<HeadCommit, ForgeError> {
        let hash = hash.to_ascii_lowercase();
        if !branch::is_hash(&hash) {
            return Err(ForgeError::InvalidCommit { commit: hash.chars().take(80).collect() });
        }
        let mut visit = self.visit(repository, access).await?;
        // Says whether the repository can be reached at all, in clearer words than the next question.
        visit.reach(&["ls-remote", "--quiet", "--end-of-options", "origin", "HEAD"]).await?;
        let commit = visit.describe(&hash, visit.deadline).await?;
        Ok(HeadCommit { known_hosts: visit.contact.new_known_hosts(), ..commit })
    }

    async fn visit<'f>(&'f self, repository: &'f RepositoryUrl, access: Option<&SshAccess>) -> Result<Visit<'f>, ForgeError> {
        let timeout = self.0.timeout;
        let deadline = Instant::now() + timeout;
        let prepare = async {
            let host = Host::find(repository, self.0.allow_local).await?;
            let contact = Contact::open(repository, host.as_ref(), access).map_err(ForgeError::Git)?;
            Ok(Visit { settings: &self.0, repository, contact, deadline })
        };
        timeout_at(deadline, prepare).await.unwrap_or(Err(ForgeError::TimedOut { after: timeout }))
    }
}

/// One repository being asked, until the deadline.
struct Visit<'f> {
    settings: &'f ForgeSettings,
    repository: &'f RepositoryUrl,
    contact: Contact,
    deadline: Instant,
}

impl Visit<'_> {
    /// The first question. Redirections are not followed, as they may lead anywhere; the one that forges answer when the URL
    /// lacks its `.git` is foreseen.
    async fn reach(&mut self, arguments: &[&str]) -> Result<Vec<u8>, ForgeError> {
        let web = matches!(self.repository.kind(), RepositoryKind::Https | RepositoryKind::Http);
        match self.git(arguments, b"", self.deadline).await {
            Err(Failed::Said(said)) if web && is_redirection(&said) && self.contact.add_suffix().map_err(ForgeError::Git)? => {
                // When that fails as well, the words about the URL as it was entered say more.
                let second = self.git(arguments, b"", self.deadline).await;
                second.map_err(|_| self.explain(Failed::Said(said)))
            }
            result => result.map_err(|failed| self.explain(failed)),
        }
    }

    /// Fetches one commit, without its tree where the server can do that, and reads it.
    async fn describe(&self, hash: &str, deadline: Instant) -> Result<HeadCommit, ForgeError> {
        let missing = || ForgeError::CommitMissing { commit: hash.to_owned() };
        let fetch = [
            "fetch",
            "--quiet",
            "--depth=1",
            "--filter=tree:0",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            "--end-of-options",
            "origin",
            hash,
        ];
        self.git(&fetch, b"", deadline).await.map_err(|failed| match failed {
            Failed::Said(said) if is_about_a_missing_commit(&said) => missing(),
            failed => self.explain(failed),
        })?;
        let object = self.git(&["cat-file", "--batch"], format!("{hash}\n").as_bytes(), deadline).await;
        parse(&object.map_err(|failed| self.explain(failed))?, hash).ok_or_else(missing)
    }

    async fn git(&self, arguments: &[&str], input: &[u8], deadline: Instant) -> Result<Vec<u8>, Failed> {
        Git { program: &self.settings.git, environment: &self.settings.environment, contact: &self.contact }
            .run(arguments, input, deadline)
            .await
    }

    fn half_time(&self) -> Instant {
        let half: Duration = self.settings.timeout / 2;
        self.deadline.min(Instant::now() + half)
    }

    fn explain(&self, failed: Failed) -> ForgeError {
        match failed {
            Failed::Said(said) if is_about_another_host_key(&said) => {
                ForgeError::HostKeyChanged { host: self.repository.host().unwrap_or_default().to_owned() }
            }
            Failed::Said(said) => {
                ForgeError::Unreachable { words: words::presentable(&said, self.repository, self.contact.directory()) }
            }
            Failed::TimedOut => ForgeError::TimedOut { after: self.settings.timeout },
            Failed::Io(error) => ForgeError::Git(error),
        }
    }
}

fn is_redirection(said: &[u8]) -> bool {
    String::from_utf8_lossy(said).contains("returned error: 30")
}

/// OpenSSH's words. A repository's own come over a connection whose host key was right.
fn is_about_another_host_key(said: &[u8]) -> bool {
    String::from_utf8_lossy(said).contains("Host key verification failed.")
}

fn is_about_a_missing_commit(said: &[u8]) -> bool {
    let said = String::from_utf8_lossy(said);
    ["not our ref", "unadvertised object", "remote error: want"].iter().any(|words| said.contains(words))
}
