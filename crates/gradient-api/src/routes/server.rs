//! What the server says of itself: `/health`, `/config`, `/admin/workers`.

use actix_web::{http::Method, web};
use gradient_engine::Engine;
use serde::Serialize;

use super::{resource, workers::LiveBody};
use crate::{ApiError, envelope::Answer, error::Code, scope::SignedIn};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/health", [(Method::GET, web::to(health))]))
        .service(resource("/config", [(Method::GET, web::to(settings))]))
        .service(resource("/admin/workers", [(Method::GET, web::to(workers))]));
}

async fn health(engine: web::Data<Engine>) -> Result<Answer<&'static str>, ApiError> {
    match engine.health().await {
        Ok(()) => Ok(Answer("200 ALIVE")),
        Err(part) => Err(ApiError::new(Code::Unavailable, part.to_string())),
    }
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the shape of the answer")]
struct ConfigBody {
    version: &'static str,
    oidc_enabled: bool,
    oidc_required: bool,
    registration_enabled: bool,
    email_verification_enabled: bool,
}

async fn settings(engine: web::Data<Engine>) -> Answer<ConfigBody> {
    Answer(ConfigBody {
        version: env!("CARGO_PKG_VERSION"),
        oidc_enabled: false,
        oidc_required: false,
        registration_enabled: engine.settings().enable_registration,
        email_verification_enabled: false,
    })
}

async fn workers(user: SignedIn, engine: web::Data<Engine>) -> Result<Answer<Vec<LiveBody>>, ApiError> {
    if !user.user.superuser && !engine.settings().global_stats_public {
        return Err(ApiError::new(Code::SuperuserRequired, "this needs a superuser"));
    }
    Ok(Answer(engine.live_workers().await.into_iter().map(LiveBody::from).collect()))
}
