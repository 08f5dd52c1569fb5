//! Evaluations begin: by a person, or because a repository has a new head.
//!
//! What a new evaluation means for those that still run is decided with the project's row locked, in the transaction that adds
//! it. So two that begin at once see each other.
//!
//! A commit fixes all that its evaluation depends on: the flake is locked, and evaluated purely. One whose attributes were all
//! found before, by the same rules, is not fetched and evaluated again, unless upstreams have lost what it needs of them.

use gradient_domain::{
    CommitId, Concurrency, Epoch, EvaluationId, EvaluationStatus, Moment, OrganizationId, Priority, UserId, sql::Document,
};
use gradient_forge::HeadCommit;
use gradient_scheduler::{Event, NewEvaluation as Added, Stage};
use gradient_storage::{
    Conn, StorageError,
    builds::{self, Renewal},
    commits::{self, Commit},
    evaluations::{self, NewEvaluation},
    organizations,
    projects::{self, Project},
};

use super::{
    EvaluationRequest, abort, is_there,
    repeat::{Repeated, repeat},
};
use crate::{Change, Engine, EngineError};

impl Engine {
    /// Starts an evaluation of a project: finds the commit, does with running evaluations what the project says, and queues the
    /// fetch. `Conflict` when one runs and the project wants no second.
    pub async fn request_evaluation(&self, project: &Project, request: EvaluationRequest) -> Result<EvaluationId, EngineError> {
        let head = self.resolve_commit(project, request.commit.as_deref()).await?;
        let known = self.known_alike(project, &head).await?;
        let (seen, now) = (project.clone(), Moment::now());
        let add = async move |conn: &mut Conn| match lock(conn, &seen).await? {
            Some(current) => {
                let current = Project { repository: seen.repository, ..current };
                begin(conn, current, head, request.triggered_by, known, now).await
            }
            None => Err(EngineError::NotFound { what: "project", name: seen.name.to_string() }),
        };
        // Derivations are not removed while something new comes to refer to them.
        let looking = self.ingesting().read().await;
        let begun = self.storage().try_transaction(add).await?;
        drop(looking);
        self.announce_begun(begun).await
    }

    /// Starts an evaluation of the head that a look at the repository found, unless the project has evaluated it or is not what
    /// it was when the look began. `Conflict` as in [`request_evaluation`](Self::request_evaluation).
    pub(crate) async fn evaluate_new_head(&self, seen: &Project, head: HeadCommit) -> Result<Option<EvaluationId>, EngineError> {
        let known = self.known_alike(seen, &head).await?;
        let (seen, now) = (seen.clone(), Moment::now());
        let add = async move |conn: &mut Conn| {
            let Some(current) = lock(conn, &seen).await? else { return Ok(None) };
            let is_polled = current.active && current.poll_interval_secs > 0;
            let is_same = current.repository == seen.repository && current.branch == seen.branch;
            if !is_polled || !is_same || is_evaluated(conn, &current, &head.hash).await? {
                return Ok(None);
            }
            begin(conn, current, head, None, known, now).await.map(Some)
        };
        let looking = self.ingesting().read().await;
        let begun = self.storage().try_transaction(add).await?;
        drop(looking);
        match begun {
            Some(begun) => self.announce_begun(begun).await.map(Some),
            None => Ok(None),
        }
    }

    /// The evaluation that has found what one of this commit would find, when all of that still holds.
    async fn known_alike(&self, project: &Project, head: &HeadCommit) -> Result<Option<EvaluationId>, EngineError> {
        let (project, hash, organization) = (project.clone(), head.hash.clone(), project.organization);
        let look = async move |conn: &mut Conn| {
            let repository = project.repository.to_string();
            match commits::lookup_by_hash(conn, organization, &repository, &hash).await? {
                Some(commit) => evaluations::last_alike(conn, &row(&project, repository, None, Moment::now()), commit.id).await,
                None => Ok(None),
            }
        };
        let Some(earlier) = self.storage().read(look).await? else { return Ok(None) };
        Ok(is_there(self, organization, earlier.id).await?.then_some(earlier.id))
    }

    async fn announce_begun(&self, begun: Begun) -> Result<EvaluationId, EngineError> {
        if let Some(repeated) = begun.repeated {
            repeated.begin(self, begun.replaced).await?;
            return Ok(begun.id);
        }
        for event in begun.replaced.events() {
            self.core().send(event).await;
        }
        begun.replaced.announce(self);
        let added = Added {
            evaluation: begun.id,
            organization: begun.organization,
            priority: begun.priority,
            status: EvaluationStatus::Queued,
            stage: Stage::Fetch,
            job_epoch: Epoch::NONE,
            lease: None,
        };
        self.core().send(Event::EvaluationAdded(added)).await;
        Ok(begun.id)
    }
}

/// The evaluations that a new one ended.
pub(crate) struct Replaced {
    evaluations: Vec<EvaluationId>,
    /// Whether what they run is stopped.
    stop_running: bool,
}

impl Replaced {
    /// What the scheduler is to be told of them.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        let stop_running = self.stop_running;
        self.evaluations.iter().map(move |&evaluation| Event::AbortEvaluation { evaluation, stop_running })
    }

    /// Tells those who watch them.
    pub(crate) fn announce(&self, engine: &Engine) {
        for &evaluation in &self.evaluations {
            engine.changes().announce(Change::Evaluation(evaluation));
        }
    }
}

/// An evaluation that the scheduler does not know of yet.
struct Begun {
    id: EvaluationId,
    organization: OrganizationId,
    priority: Priority,
    replaced: Replaced,
    /// What is known of it, when nothing has to be fetched and evaluated.
    repeated: Option<Repeated>,
}

/// The project as it is now, kept from changing and from being deleted, with its organization, until the transaction ends.
pub(crate) async fn lock(conn: &mut Conn, seen: &Project) -> Result<Option<Project>, StorageError> {
    if !organizations::keep(conn, seen.organization).await? {
        return Ok(None);
    }
    projects::lock(conn, seen.id).await
}

async fn is_evaluated(conn: &mut Conn, project: &Project, hash: &str) -> Result<bool, StorageError> {
    match commits::lookup_by_hash(conn, project.organization, &project.repository.to_string(), hash).await? {
        Some(commit) => evaluations::is_evaluated(conn, project.id, commit.id).await,
        None => Ok(false),
    }
}

/// To be called with the project locked.
async fn begin(
    conn: &mut Conn,
    project: Project,
    head: HeadCommit,
    triggered_by: Option<UserId>,
    known: Option<EvaluationId>,
    now: Moment,
) -> Result<Begun, EngineError> {
    let replaced = replace_running(conn, &project, now).await?;
    let (organization, priority) = (project.organization, project.priority);
    let commit = Commit {
        id: CommitId::new(),
        organization,
        repository: project.repository.to_string(),
        hash: head.hash,
        message: head.message,
        author_name: Some(head.author_name).filter(|name| !name.is_empty()),
        created_at: now,
    };
    let commit = commits::claim(conn, &commit).await?;
    let row = row(&project, commit.repository, triggered_by, now);
    let id = row.id;
    let repeated = begin_stored(conn, row, commit.id, known).await?;
    Ok(Begun { id, organization, priority, replaced, repeated })
}

fn row(project: &Project, repository: String, triggered_by: Option<UserId>, now: Moment) -> NewEvaluation {
    NewEvaluation {
        id: EvaluationId::new(),
        organization: project.organization,
        project: Some(project.id),
        repository,
        wildcard: project.wildcard.to_string(),
        priority: project.priority,
        publish: project.publish,
        allow_ifd: project.allow_ifd,
        triggered_by,
        created_at: now,
    }
}

/// Stores the evaluation; with all that it needs when that is `known` from this one.
async fn begin_stored(
    conn: &mut Conn,
    row: NewEvaluation,
    commit: CommitId,
    known: Option<EvaluationId>,
) -> Result<Option<Repeated>, StorageError> {
    if let Some(mut earlier) = evaluations::last_alike(conn, &row, commit).await?
        && known == Some(earlier.id)
        && let Some(Document(source)) = earlier.source.take()
    {
        builds::lock(conn).await?;
        return repeat(conn, row, &earlier, &source, Renewal::Unusable).await.map(Some);
    }
    evaluations::insert(conn, row, commit).await?;
    Ok(None)
}

/// Does with the project's running evaluations what it says of them when a new one begins; `Conflict` when it wants no second. To
/// be called with the project locked.
pub(crate) async fn replace_running(conn: &mut Conn, project: &Project, now: Moment) -> Result<Replaced, EngineError> {
    let running = evaluations::unfinished_of_project(conn, project.id).await?;
    let evaluations = match project.concurrency {
        Concurrency::Skip if !running.is_empty() => {
            return Err(EngineError::Conflict(format!("an evaluation of project `{}` is still running", project.name)));
        }
        Concurrency::Skip | Concurrency::All => Vec::new(),
        Concurrency::SoftAbort | Concurrency::HardAbort => running,
    };
    abort::end_rows(conn, &evaluations, now).await?;
    Ok(Replaced { evaluations, stop_running: project.concurrency == Concurrency::HardAbort })
}
