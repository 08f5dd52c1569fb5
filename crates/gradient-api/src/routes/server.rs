//! What the server says of itself: `/health`, `/config`, `/admin/workers`, `/openapi.json`.

use std::sync::LazyLock;

use actix_web::{HttpResponse, http::header::ContentType, web};
use gradient_engine::Engine;
use serde::Serialize;
use utoipa::ToSchema;

use super::workers::LiveBody;
use crate::{
    ApiError,
    endpoints::{Endpoints, endpoints},
    envelope::Answer,
    error::Code,
    openapi,
    scope::MaySeeStatistics,
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Server:
        health;
        settings;
        workers;
        description;
    }
}

/// Tells whether the server works; if not, which part of it does not.
#[utoipa::path(get, path = "/health")]
async fn health(engine: web::Data<Engine>) -> Result<Answer<&'static str>, ApiError> {
    match engine.health().await {
        Ok(()) => Ok(Answer("200 ALIVE")),
        Err(part) => Err(ApiError::new(Code::Unavailable, part.to_string())),
    }
}

/// What the server offers.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the shape of the answer")]
#[schema(as = Config)]
struct ConfigBody {
    #[schema(example = "0.1.0")]
    version: &'static str,
    oidc_enabled: bool,
    oidc_required: bool,
    registration_enabled: bool,
    email_verification_enabled: bool,
}

/// Tells what the server offers.
#[utoipa::path(get, path = "/config")]
async fn settings(engine: web::Data<Engine>) -> Answer<ConfigBody> {
    Answer(ConfigBody {
        version: env!("CARGO_PKG_VERSION"),
        oidc_enabled: engine.settings().oidc.is_some(),
        oidc_required: engine.settings().oidc_required,
        registration_enabled: engine.may_register(),
        email_verification_enabled: engine.verifies_email(),
    })
}

/// Lists the workers that are connected, of all organizations.
///
/// Everybody who is signed in may, when the server runs with `GRADIENT_GLOBAL_STATS_PUBLIC=true`.
#[utoipa::path(get, path = "/admin/workers")]
async fn workers(_: MaySeeStatistics, engine: web::Data<Engine>) -> Answer<Vec<LiveBody>> {
    Answer(engine.live_workers().await.into_iter().map(LiveBody::from).collect())
}

/// Describes the API: this document, as an OpenAPI 3.1 document without an envelope.
///
/// `/api/docs` shows it as a page.
#[utoipa::path(
    get,
    path = "/openapi.json",
    responses((
        status = 200,
        description = "The document.",
        body = Object,
        content_type = "application/json",
        example = json!({"openapi": "3.1.0"}),
    ))
)]
async fn description() -> Result<HttpResponse, ApiError> {
    static DESCRIPTION: LazyLock<Result<String, serde_json::Error>> = LazyLock::new(|| openapi().to_json());
    match &*DESCRIPTION {
        Ok(json) => Ok(HttpResponse::Ok().content_type(ContentType::json()).body(json.as_str())),
        Err(error) => Err(ApiError::internal(error)),
    }
}
