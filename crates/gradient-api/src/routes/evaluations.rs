//! `/evals/{id}` and what starts one: `POST /projects/{org}/{project}/evaluate`.

mod view;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::StreamExt;
use gradient_domain::{BuildStatus, EvaluationId};
use gradient_engine::{Engine, EvaluationRequest, LogLine};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    ApiError,
    body::{Body, OptionalBody},
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Sentence},
    error::Code,
    ndjson,
    scope::{EvaluationScope, ProjectScope, TriggerEvaluation, ViewOrg, revoked},
};

pub(crate) use view::{EntryPointBody, EvaluationBody, EvaluationSummary};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Evaluations:
        evaluate => Conflict, RepositoryUnreachable, Validation;
        entry_points;
        show;
        act;
        builds;
        logs;
        messages;
    }
}

/// What to evaluate; without a body, the head of the project's branch.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = EvaluationRequest)]
struct EvaluateBody {
    /// 40 hexadecimal digits.
    #[schema(example = "2c26b46b68ffc68ff99b453c1d30413413422d70")]
    commit: Option<String>,
    /// With `restart_failed` nothing is evaluated: the newest evaluation, or the newest one of the commit, is made again with new
    /// builds for those that failed.
    #[schema(pattern = "^restart_failed$", example = json!(null))]
    mode: Option<String>,
}

/// The mode in which what failed is built again.
const RESTART_FAILED: &str = "restart_failed";

/// Starts an evaluation: answers its id.
///
/// Without a body, of the head of the project's branch, which is looked up before the answer.
#[utoipa::path(post, path = "/projects/{org}/{project}/evaluate")]
async fn evaluate(
    scope: ProjectScope<TriggerEvaluation>,
    body: OptionalBody<EvaluateBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<EvaluationId>, ApiError> {
    let EvaluateBody { commit, mode } = body.read()?.unwrap_or_default();
    let request = EvaluationRequest { commit, triggered_by: scope.user() };
    match mode.as_deref() {
        None => Ok(Answer(engine.request_evaluation(&scope.project, request).await?)),
        Some(RESTART_FAILED) => Ok(Answer(engine.restart_failed(&scope.project, request).await?)),
        // Whoever asks for another kind of evaluation does not mean this one.
        Some(mode) => {
            let message = format!("mode: this server does not know `{mode}`, only `{RESTART_FAILED}`");
            Err(ApiError::new(Code::Validation, message))
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EntryPointsQuery {
    /// Which evaluation's; the newest one's where nothing is said.
    evaluation_id: Option<EvaluationId>,
}

/// Lists the root builds of an evaluation, by default of the newest one.
#[utoipa::path(get, path = "/projects/{org}/{project}/entry-points")]
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

/// Shows an evaluation.
#[utoipa::path(get, path = "/evals/{id}")]
async fn show(scope: EvaluationScope<ViewOrg>, engine: web::Data<Engine>) -> Result<Answer<EvaluationBody>, ApiError> {
    let neighbours = engine.neighbours(&scope.evaluation).await?;
    let estimate = engine.estimate(&scope.evaluation).await;
    Ok(Answer(EvaluationBody::new(scope.evaluation, neighbours, estimate)))
}

/// What to do with an evaluation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = EvaluationAction)]
struct ActBody {
    /// What to do.
    #[schema(pattern = "^abort$", example = "abort")]
    method: String,
}

/// Aborts an evaluation. One that has ended stays as it is.
#[utoipa::path(post, path = "/evals/{id}")]
async fn act(
    scope: EvaluationScope<TriggerEvaluation>,
    body: Body<ActBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let body = body.read()?;
    if body.method != "abort" {
        return Err(ApiError::bad_request(format!("method: `{}` is not one; expected `abort`", body.method)));
    }
    engine.abort_evaluation(scope.evaluation.id).await?;
    let ended = scope.evaluation.status.is_final();
    Ok(Answer(Sentence(if ended { "the evaluation has ended already" } else { "the evaluation is aborted" }.into())))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct BuildsQuery {
    /// How many builds are shown.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// How many builds are left out at the beginning.
    #[param(minimum = 0, maximum = 9_223_372_036_854_775_807_i64, default = 0)]
    offset: Option<i64>,
    /// Only those that stand there.
    status: Option<BuildStatus>,
}

/// Lists the builds of an evaluation.
#[utoipa::path(get, path = "/evals/{id}/builds")]
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

/// Lists what the evaluation had to say: why it, or an attribute, did not evaluate.
#[utoipa::path(get, path = "/evals/{id}/messages")]
async fn messages(
    scope: EvaluationScope<ViewOrg>,
    engine: web::Data<Engine>,
) -> Result<Answer<Vec<view::MessageBody>>, ApiError> {
    let messages = engine.evaluation_messages(scope.evaluation.id).await?;
    Ok(Answer(messages.into_iter().map(view::MessageBody::from).collect()))
}

/// Streams the logs of all builds of an evaluation, until it ends.
///
/// Each line is a JSON string: a line of a log with its build's name before it, as in `hello-2.12.1> unpacking`. What is
/// stored comes first. It also ends when the caller may not see it any more.
#[utoipa::path(
    post,
    path = "/evals/{id}/builds",
    responses((status = 200, description = "JSON strings, one a line.", body = String, content_type = "application/x-ndjson"))
)]
async fn logs(scope: EvaluationScope<ViewOrg>, request: HttpRequest, engine: web::Data<Engine>) -> HttpResponse {
    let batches = engine.follow_evaluation(scope.evaluation.id);
    let lines = batches.map(|batch| batch.map(to_lines));
    ndjson::stream(lines.take_until(Box::pin(revoked::<EvaluationScope<ViewOrg>>(request))))
}

fn to_lines(lines: Vec<LogLine>) -> Bytes {
    let mut bytes = Vec::new();
    for LogLine { build, line } in lines {
        ndjson::push(&mut bytes, &format!("{build}> {line}"));
    }
    bytes.into()
}
