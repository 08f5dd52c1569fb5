//! `/orgs/{org}/workers`: registrations of workers, with what the connected ones do.

use actix_web::{http::Method, web};
use gradient_auth::WorkerToken;
use gradient_domain::{DisplayName, Moment, OrganizationId, WorkerId};
use gradient_engine::{Engine, LiveWorker, NewWorker, RegisteredWorker, WorkerRegistrationChanges};
use serde::{Deserialize, Serialize};

use super::{
    fields::{optional, parse},
    resource,
};
use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Sentence},
    error::Code,
    scope::{ManageWorkers, Member, OrganizationScope},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/orgs/{org}/workers", [(Method::GET, web::to(list)), (Method::POST, web::to(register))])).service(
        resource("/orgs/{org}/workers/{worker}", [(Method::PATCH, web::to(change)), (Method::DELETE, web::to(unregister))]),
    );
}

#[derive(Serialize)]
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
#[derive(Serialize)]
pub(super) struct LiveBody {
    worker_id: WorkerId,
    architectures: Vec<String>,
    system_features: Vec<String>,
    max_concurrent_builds: u32,
    assigned_job_count: usize,
    draining: bool,
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

async fn list(scope: OrganizationScope<Member>, engine: web::Data<Engine>) -> Result<Answer<Vec<WorkerBody>>, ApiError> {
    let workers = engine.workers(scope.found.organization.id).await?;
    Ok(Answer(workers.into_iter().map(WorkerBody::from).collect()))
}

#[derive(Deserialize)]
struct RegisterBody {
    worker_id: String,
    token: Option<String>,
    display_name: Option<String>,
    enable_fetch: Option<bool>,
    enable_eval: Option<bool>,
    enable_build: Option<bool>,
}

#[derive(Serialize)]
struct RegisteredBody {
    peer_id: OrganizationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

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

#[derive(Deserialize)]
struct ChangeBody {
    display_name: Option<String>,
    enable_fetch: Option<bool>,
    enable_eval: Option<bool>,
    enable_build: Option<bool>,
}

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
