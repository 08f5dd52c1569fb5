//! From an assignment to the task that a worker gets.

use std::sync::Arc;

use gradient_domain::{
    BuildId, BuildTimes, Epoch, EvaluationId, Failure, FailureKind, Job, OrganizationId, RepositoryKind, RepositoryUrl, WorkerId,
};
use gradient_protocol::{BuildLimits, BuildTask, EvaluateTask, FetchTask, GitAccess, Source, Task, ToWorker, encode_task};
use gradient_scheduler::Event;
use gradient_storage::{Conn, commits, evaluations, projects};
use tokio::task::JoinHandle;

use crate::{Engine, EngineError, UploadError, build_context::BuildContext, leases::Lease, organizations, results};

/// What a worker is to be told, and what this server has to know of it then.
#[derive(Debug)]
pub(crate) struct Prepared {
    task: Task,
    context: Option<(BuildId, Arc<BuildContext>)>,
}

/// Prepares the task of a build that is about to be given to a worker. Nothing comes of it when that does not happen, or when it is
/// too early: what the build needs is not there for everybody yet.
pub(crate) fn prepare_early(engine: &Engine, build: BuildId, worker: WorkerId) -> JoinHandle<Option<Prepared>> {
    let engine = engine.clone();
    tokio::spawn(async move {
        let _permit = engine.preparing().acquire().await.ok()?;
        self::build(&engine, build, worker).await.ok()
    })
}

/// Prepares the task behind the caller's back, unless it is, and sends it. What cannot be prepared counts as a failure of the
/// attempt.
pub(crate) fn send_later(engine: &Engine, job: Job, lease: Lease, early: Option<JoinHandle<Option<Prepared>>>) {
    let engine = engine.clone();
    tokio::spawn(async move {
        let early = match early {
            Some(early) => early.await.ok().flatten(),
            None => None,
        };
        let outcome = send(&engine, job, lease, early).await;
        engine.core().delivered(job, lease.epoch, lease.worker);
        if let Err(error) = outcome {
            tracing::error!(%job, error = &error as &dyn std::error::Error, "cannot hand out a job");
            // The worker has not heard of it and will never report; the journal waits until this can be written.
            let (Lease { epoch, worker, .. }, kind) = (lease, FailureKind::Transient);
            engine.leases().end(job, epoch, worker);
            engine.core().send(Event::JobFailed { job, epoch, worker, kind }).await;
        }
    });
}

async fn send(engine: &Engine, job: Job, lease: Lease, early: Option<Prepared>) -> Result<(), EngineError> {
    let _permit = engine.preparing().acquire().await.map_err(|_| EngineError::Stopping)?;
    let prepared = match early {
        Some(prepared) => Ok(prepared),
        None => prepare(engine, job, lease).await,
    };
    match prepared {
        Ok(prepared) => {
            let task = prepared.given(engine);
            // Cancelled while it was prepared, or the worker came back for others: then nobody is to begin it.
            if engine.held_lease(job, lease.epoch, lease.worker).is_some() {
                let assign = |task| ToWorker::Assign { job, epoch: lease.epoch, peer: lease.organization, task: Box::new(task) };
                let message = match assign(task) {
                    large if !gradient_protocol::fits_frame(&large) => assign(Task::Large {}),
                    message => message,
                };
                engine.core().delivered(job, lease.epoch, lease.worker);
                engine.sessions().send(lease.worker, message);
            }
            Ok(())
        }
        Err(error) => {
            let kind = match &error {
                EngineError::InputsMissing(_) => FailureKind::InputsMissing,
                _ => FailureKind::Transient,
            };
            let message = error.to_string();
            tracing::warn!(%job, error = &error as &dyn std::error::Error, "cannot prepare a job");
            results::failed(engine, job, lease, Failure { kind, message }, 0).await
        }
    }
}

impl Engine {
    /// The task of a job that the session with this token holds, as [`encode_task`] writes it.
    pub async fn task(&self, token: &str, job: Job, epoch: Epoch) -> Result<Vec<u8>, UploadError> {
        let lease = self.lease_of(token, job, epoch)?;
        // One of the few that its session has, before one of those that everybody shares.
        let _turn = self.upload_permit(lease).await?;
        let _permit = self.preparing().acquire().await.map_err(|_| EngineError::Stopping)?;
        let task = prepare(self, job, lease).await?.given(self);
        Ok(encode_task(&task).map_err(|error| EngineError::Task(error.to_string()))?)
    }
}

impl Prepared {
    /// The task, when its worker is to have it now.
    fn given(self, engine: &Engine) -> Task {
        if let Some((build, context)) = self.context {
            engine.build_contexts().note(build, context);
        }
        self.task
    }
}

async fn prepare(engine: &Engine, job: Job, lease: Lease) -> Result<Prepared, EngineError> {
    let task = match job {
        Job::Fetch(evaluation) => Task::Fetch(fetch(engine, evaluation, lease.organization).await?),
        Job::Evaluate(evaluation) => Task::Evaluate(evaluate(engine, evaluation).await?),
        Job::Build(build) => return self::build(engine, build, lease.worker).await,
    };
    Ok(Prepared { task, context: None })
}

async fn fetch(engine: &Engine, evaluation: EvaluationId, organization: OrganizationId) -> Result<FetchTask, EngineError> {
    let (evaluation, commit, branch) = engine
        .storage()
        .read(async move |conn: &mut Conn| {
            let evaluation = evaluations::find(conn, evaluation).await?;
            let commit = commits::lookup(conn, evaluation.commit).await?;
            let branch = match evaluation.project {
                Some(project) => projects::lookup(conn, project).await?.and_then(|project| project.branch),
                None => None,
            };
            Ok((evaluation, commit, branch))
        })
        .await?;
    let commit = commit.ok_or_else(|| EngineError::Damaged(format!("evaluation {} has no commit", evaluation.id)))?;
    let access = git_access(engine, organization, &evaluation.repository).await?;
    Ok(FetchTask { repository: evaluation.repository, commit: commit.hash, reference: branch, access })
}

/// The organization's SSH key, for repositories that are reached by SSH.
async fn git_access(engine: &Engine, organization: OrganizationId, repository: &str) -> Result<Option<GitAccess>, EngineError> {
    let kind = repository.parse::<RepositoryUrl>().map(|url| url.kind());
    if kind != Ok(RepositoryKind::Ssh) {
        return Ok(None);
    }
    let access = organizations::ssh_access(engine, organization).await?;
    Ok(Some(GitAccess { ssh_private_key: access.private_key.into_inner(), known_hosts: access.known_hosts }))
}

async fn evaluate(engine: &Engine, evaluation: EvaluationId) -> Result<EvaluateTask, EngineError> {
    let evaluation = engine.storage().read(async move |conn: &mut Conn| evaluations::find(conn, evaluation).await).await?;
    let source = evaluation
        .source
        .ok_or_else(|| EngineError::Damaged(format!("evaluation {} is to be evaluated, but has no source", evaluation.id)))?
        .0;
    let source = Source {
        path: source.path,
        nar_hash: source.nar_hash,
        rev: source.rev,
        rev_count: source.rev_count,
        last_modified: source.last_modified,
    };
    Ok(EvaluateTask { source, wildcard: evaluation.wildcard, allow_ifd: evaluation.allow_ifd, show_ifd: evaluation.allow_ifd })
}

async fn build(engine: &Engine, build: BuildId, worker: WorkerId) -> Result<Prepared, EngineError> {
    let asked =
        async { Ok(engine.storage().read(async move |conn: &mut Conn| evaluations::asked_times(conn, build).await).await?) };
    let (context, asked) = tokio::try_join!(engine.load_build_context(build, Some(worker)), asked)?;
    let settings = engine.settings();
    let default = BuildTimes {
        timeout_secs: settings.build_timeout.map(|timeout| timeout.as_secs()),
        max_silent_secs: settings.build_max_silent.map(|silent| silent.as_secs()),
    };
    // Who asks for less is not to end what another one waits for.
    let times = asked.into_iter().map(|times| times.or(default)).reduce(BuildTimes::widest).unwrap_or(default);
    let limits = BuildLimits {
        timeout_secs: times.timeout_secs,
        max_silent_secs: times.max_silent_secs,
        max_log_bytes: settings.max_log_bytes,
        max_output_bytes: Some(settings.max_output_bytes),
    };
    let (derivation, aterm, inputs) = (context.drv_path.clone(), context.aterm.clone(), context.inputs.clone());
    let task = Task::Build(BuildTask { derivation, aterm, inputs, limits });
    Ok(Prepared { task, context: Some((build, context)) })
}
