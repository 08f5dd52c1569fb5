//! `/evals/{id}` and what starts one: `POST /projects/{org}/{project}/evaluate`.

mod view;

use actix_web::{HttpResponse, http::Method, web};
use bytes::Bytes;
use futures_util::StreamExt;
use gradient_domain::{BuildStatus, EvaluationId};
use gradient_engine::{Engine, EvaluationRequest, LogLine};
use serde::Deserialize;

use crate::{
    ApiError,
    body::{Body, OptionalBody},
    envelope::{Answer, Sentence},
    error::Code,
    ndjson,
    routes::resource,
    scope::{EvaluationScope, ProjectScope, TriggerEvaluation, ViewOrg},
};

pub(crate) use view::{EntryPointBody, EvaluationBody, EvaluationSummary};

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/projects/{org}/{project}/evaluate", [(Method::POST, web::to(evaluate))]))
        .service(resource("/projects/{org}/{project}/entry-points", [(Method::GET, web::to(entry_points))]))
        .service(resource("/evals/{id}", [(Method::GET, web::to(show)), (Method::POST, web::to(act))]))
        .service(resource("/evals/{id}/builds", [(Method::GET, web::to(builds)), (Method::POST, web::to(logs))]))
        .service(resource("/evals/{id}/messages", [(Method::GET, web::to(messages))]));
}

/// What to evaluate; without a body, the head of the project's branch.
#[derive(Debug, Default, Deserialize)]
struct EvaluateBody {
    commit: Option<String>,
    mode: Option<String>,
}

async fn evaluate(
    scope: ProjectScope<TriggerEvaluation>,
    body: OptionalBody<EvaluateBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<EvaluationId>, ApiError> {
    let EvaluateBody { commit, mode } = body.read()?.unwrap_or_default();
    // Whoever asks for another kind of evaluation does not mean this one.
    if let Some(mode) = mode {
        return Err(ApiError::new(Code::Validation, format!("mode: this server does not know `{mode}`")));
    }
    let request = EvaluationRequest { commit, triggered_by: scope.user() };
    Ok(Answer(engine.request_evaluation(&scope.project, request).await?))
}

#[derive(Debug, Deserialize)]
struct EntryPointsQuery {
    evaluation_id: Option<EvaluationId>,
}

async fn entry_points(
    scope: ProjectScope<ViewOrg>,
    query: web::Query<EntryPointsQuery>,
    engine: web::Data<Engine>,
) -> Result<Answer<Vec<EntryPointBody>>, ApiError> {
    let evaluation = engine.evaluation_of_project(scope.project.id, query.evaluation_id).await?;
    let Some(evaluation) = evaluation else { return Ok(Answer(Vec::new())) };
    let entry_points = engine.entry_points(evaluation).await?;
    Ok(Answer(entry_points.into_iter().map(EntryPointBody::from).collect()))
}

async fn show(scope: EvaluationScope<ViewOrg>, engine: web::Data<Engine>) -> Result<Answer<EvaluationBody>, ApiError> {
    let neighbours = engine.neighbours(&scope.evaluation).await?;
    Ok(Answer(EvaluationBody::new(scope.evaluation, neighbours)))
}

/// What to do with an evaluation.
#[derive(Debug, Deserialize)]
struct ActBody {
    method: String,
}

async fn act(
    scope: EvaluationScope<TriggerEvaluation>,
    body: Body<ActBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let body = body.read()?;
    if body.method != "abort" {
        return Err(ApiError::bad_request(format!("method: `{}` is not one; expected `abort`", body.method)));
    }
    if scope.evaluation.status.is_final() {
        return Ok(Answer(Sentence("the evaluation has ended already".into())));
    }
    engine.abort_evaluation(scope.evaluation.id).await;
    Ok(Answer(Sentence("the evaluation is being aborted".into())))
}

#[derive(Debug, Deserialize)]
struct BuildsQuery {
    limit: Option<i64>,
    offset: Option<i64>,
    status: Option<BuildStatus>,
}

async fn builds(
    scope: EvaluationScope<ViewOrg>,
    query: web::Query<BuildsQuery>,
    engine: web::Data<Engine>,
) -> Result<Answer<view::BuildsBody>, ApiError> {
    let limit = query.limit.unwrap_or(100);
    let offset = query.offset.unwrap_or(0);
    if !(1..=1000).contains(&limit) || offset < 0 {
        return Err(ApiError::bad_request("limit has to be from 1 to 1000, and offset not below 0"));
    }
    let page = engine.evaluation_builds(scope.evaluation.id, limit, offset, query.status).await?;
    Ok(Answer(view::BuildsBody::from(page)))
}

async fn messages(
    scope: EvaluationScope<ViewOrg>,
    engine: web::Data<Engine>,
) -> Result<Answer<Vec<view::MessageBody>>, ApiError> {
    let messages = engine.evaluation_messages(scope.evaluation.id).await?;
    Ok(Answer(messages.into_iter().map(view::MessageBody::from).collect()))
}

/// All logs of the evaluation, as they come, each line with its build's name before it.
async fn logs(scope: EvaluationScope<ViewOrg>, engine: web::Data<Engine>) -> HttpResponse {
    let batches = engine.follow_evaluation(scope.evaluation.id);
    ndjson::stream(batches.map(|batch| batch.map(to_lines)))
}

fn to_lines(lines: Vec<LogLine>) -> Bytes {
    let mut bytes = Vec::new();
    for LogLine { build, line } in lines {
        ndjson::push(&mut bytes, &format!("{build}> {line}"));
    }
    bytes.into()
}
