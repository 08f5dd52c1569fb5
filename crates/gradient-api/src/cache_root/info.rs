use actix_web::{HttpResponse, http::header::ContentType};
use gradient_cache_protocol::cache_info::{CacheInfo, ServerInfo};
use serde::Serialize;

use super::{pull::Pull, refusal::Form};

/// Tells where the store is, and the cache's priority: what Nix asks first.
///
/// As Nix reads it, or as JSON.
#[utoipa::path(
    method(get, head),
    path = "/nix-cache-info",
    params(("json" = Option<String>, Query, description = "When it is there, with any value or none, the answer is JSON.")),
    responses((status = 200, description = "What Nix asks first.", content(
        (String = "text/x-nix-cache-info", example = "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n"),
        (Object = "application/json", example = json!({"StoreDir": "/nix/store", "WantMassQuery": true, "Priority": 40})),
    )))
)]
pub(super) async fn nix_cache_info(pull: Pull) -> HttpResponse {
    let info = CacheInfo::new(pull.cache.priority);
    answer(pull.form, CacheInfo::CONTENT_TYPE, info.to_text(), &info)
}

/// Tells by what the cache is served, and where.
///
/// As lines of text, or as JSON.
#[utoipa::path(
    method(get, head),
    path = "/gradient-cache-info",
    params(("json" = Option<String>, Query, description = "When it is there, with any value or none, the answer is JSON.")),
    responses((status = 200, description = "The server.", content(
        (String = "text/plain", example = "GradientVersion: 0.1.0\nGradientUrl: https://gradient.example.com\n"),
        (Object = "application/json", example = json!({"GradientVersion": "0.1.0", "GradientUrl": "https://gradient.example.com"})),
    )))
)]
pub(super) async fn gradient_cache_info(pull: Pull) -> HttpResponse {
    let info = ServerInfo {
        gradient_version: env!("CARGO_PKG_VERSION").to_owned(),
        gradient_url: pull.engine.settings().serve_url.clone(),
    };
    answer(pull.form, ContentType::plaintext().as_ref(), info.to_text(), &info)
}

fn answer(form: Form, content_type: &str, text: String, info: &impl Serialize) -> HttpResponse {
    match form {
        Form::Text => HttpResponse::Ok().content_type(content_type).body(text),
        Form::Json => HttpResponse::Ok().json(info),
    }
}
