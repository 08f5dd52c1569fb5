use actix_web::{HttpResponse, http::header::ContentType};
use gradient_cache_protocol::cache_info::{CacheInfo, ServerInfo};
use serde::Serialize;

use super::{pull::Pull, refusal::Form};

/// What Nix asks first.
pub(super) async fn nix_cache_info(pull: Pull) -> HttpResponse {
    let info = CacheInfo::new(pull.cache.priority);
    answer(pull.form, CacheInfo::CONTENT_TYPE, info.to_text(), &info)
}

/// By what the cache is served, and where.
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
