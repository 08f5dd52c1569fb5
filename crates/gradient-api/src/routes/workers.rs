//! `/orgs/{org}/workers`: registrations of workers, with what the connected ones do.

use actix_web::web;
use gradient_auth::WorkerToken;
use gradient_domain::{DisplayName, Moment, OrganizationId, WorkerId};
use gradient_engine::{Engine, LiveWorker, NewWorker, RegisteredWorker, WorkerRegistrationChanges};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::{optional, parse};
use crate::{
    ApiError,
    body::Body,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Sentence},
    error::Code,
    scope::{ManageWorkers, Member, OrganizationScope},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Workers:
        list;
        register => AlreadyExists, InvalidName, Validation;
        change => InvalidName;
        unregister;
    }
}

/// A registered worker.
#[derive(Serialize, ToSchema)]
#[schema(as = Worker, title = "Worker")]
struct WorkerBody {
    worker_id: WorkerId,
    display_name: DisplayName,
    registered_at: Moment,
    enable_fetch: bool,
    enable_eval: bool,
    enable_build: bool,
    live: Option<LiveBody>,
}

/// A connected worker.
#[derive(Serialize, ToSchema)]
#[schema(as = LiveWorker, title = "LiveWorker")]
pub(super) struct LiveBody {
    worker_id: WorkerId,
    #[schema(example = json!(["x86_64-linux"]))]
    architectures: Vec<String>,
    #[schema(example = json!(["big-parallel", "kvm"]))]
    system_features: Vec<String>,
    max_concurrent_builds: u32,
    assigned_job_count: usize,
    draining: bool,
    #[schema(example = "0.1.0")]
    version: String,
    connected_at: Moment,
}

impl From<LiveWorker> for LiveBody {
    fn from(worker: LiveWorker) -> Self {
        let LiveWorker { connected, assigned_jobs } = worker;
        Self {
            worker_id: connected.worker,
            architectures: connected.capabilities.systems,
            system_features: connected.capabilities.features,
            max_concurrent_builds: connected.capabilities.build_slots,
            assigned_job_count: assigned_jobs,
            draining: connected.draining,
            version: connected.program,
            connected_at: connected.connected_at,
        }
    }
}

impl From<RegisteredWorker> for WorkerBody {
    fn from(worker: RegisteredWorker) -> Self {
        let RegisteredWorker { registration, live } = worker;
        Self {
            worker_id: registration.worker,
            display_name: registration.display_name,
            registered_at: registration.registered_at,
            enable_fetch: registration.enable_fetch,
            enable_eval: registration.enable_eval,
            enable_build: registration.enable_build,
            live: live.map(LiveBody::from),
        }
    }
}

/// Lists the organization's workers, with what the connected ones do.
#[utoipa::path(get, path = "/orgs/{org}/workers")]
async fn list(scope: OrganizationScope<Member>, engine: web::Data<Engine>) -> Result<Answer<Vec<WorkerBody>>, ApiError> {
    let workers = engine.workers(scope.found.organization.id).await?;
    Ok(Answer(workers.into_iter().map(WorkerBody::from).collect()))
}

/// Which worker, and what it may do.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewWorker)]
struct RegisterBody {
    #[schema(value_type = WorkerId)]
    worker_id: String,
    /// 48 random bytes in base64; the server makes one where there is none.
    #[schema(pattern = "^[A-Za-z0-9+/]{64}$", example = "3n2rN4pB7m0eVqk5sXcYt8uZ1wQaJfLhGdTiRoPyEbMxKvCzDlSgUjHnWI6O9AFB")]
    token: Option<String>,
    #[schema(value_type = Option<DisplayName>)]
    display_name: Option<String>,
    enable_fetch: Option<bool>,
    enable_eval: Option<bool>,
    enable_build: Option<bool>,
}

/// What the worker needs to connect.
#[derive(Serialize, ToSchema)]
#[schema(as = WorkerRegistration)]
struct RegisteredBody {
    peer_id: OrganizationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "3n2rN4pB7m0eVqk5sXcYt8uZ1wQaJfLhGdTiRoPyEbMxKvCzDlSgUjHnWI6O9AFB")]
    token: Option<String>,
}

/// Registers a worker.
///
/// Unless the request has a token, the answer has one, this once: the worker's peers file takes it as `<peer_id>:<token>`.
#[utoipa::path(post, path = "/orgs/{org}/workers")]
async fn register(
    scope: OrganizationScope<ManageWorkers>,
    body: Body<RegisterBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<RegisteredBody>, ApiError> {
    let body = body.read()?;
    let user = scope.user().ok_or_else(ApiError::unauthorized)?;
    let worker: WorkerId = parse("worker_id", &body.worker_id)?;
    let token = body.token.as_deref().map(WorkerToken::parse).transpose();
    let token = token.map_err(|error| ApiError::new(Code::Validation, format!("token: {error}")))?;
    let display_name = match &body.display_name {
        Some(name) => name.parse()?,
        None => worker.to_string().parse()?,
    };
    let wanted = NewWorker {
        worker,
        token,
        display_name,
        enable_fetch: body.enable_fetch.unwrap_or(true),
        enable_eval: body.enable_eval.unwrap_or(true),
        enable_build: body.enable_build.unwrap_or(true),
    };
    let peer_id = scope.found.organization.id;
    let token = engine.register_worker(peer_id, user, wanted).await?;
    Ok(Answer(RegisteredBody { peer_id, token: token.map(gradient_domain::Secret::into_inner) }))
}

/// What to change of a worker's registration.
#[derive(Deserialize, ToSchema)]
#[schema(as = WorkerChanges)]
struct ChangeBody {
    #[schema(value_type = Option<DisplayName>)]
    display_name: Option<String>,
    enable_fetch: Option<bool>,
    enable_eval: Option<bool>,
    enable_build: Option<bool>,
}

/// Changes a worker's registration.
///
/// What is left out stays as it is. A connected worker gets no more jobs of a kind that is switched off, and finishes those that it
/// has.
#[utoipa::path(patch, path = "/orgs/{org}/workers/{worker}")]
async fn change(
    scope: OrganizationScope<ManageWorkers>,
    path: web::Path<(String, String)>,
    body: Body<ChangeBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let body = body.read()?;
    let changes = WorkerRegistrationChanges {
        display_name: optional(body.display_name.as_ref())?,
        enable_fetch: body.enable_fetch,
        enable_eval: body.enable_eval,
        enable_build: body.enable_build,
    };
    engine.change_worker(scope.found.organization.id, worker(&path.1)?, changes).await?;
    Ok(Answer(Sentence("the worker's registration is changed".to_owned())))
}

/// Unregisters a worker.
///
/// It stays until it disconnects, and cannot come back then.
#[utoipa::path(delete, path = "/orgs/{org}/workers/{worker}")]
async fn unregister(
    scope: OrganizationScope<ManageWorkers>,
    path: web::Path<(String, String)>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    engine.unregister_worker(scope.found.organization.id, worker(&path.1)?).await?;
    Ok(Answer(Sentence("the worker is unregistered; it can stay until it disconnects".to_owned())))
}

fn worker(text: &str) -> Result<WorkerId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("there is no such worker"))
}
