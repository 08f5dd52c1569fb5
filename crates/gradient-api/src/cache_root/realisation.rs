//! What outputs of content-addressed derivations turned out to be.

use actix_web::{HttpResponse, http::header::ContentType, web};
use gradient_cache_protocol::{RealisationName, realisation::MAX_BYTES};
use serde::Deserialize;

use super::{
    pull::Pull,
    push::{Push, Sent},
    refusal::Refusal,
};
use crate::ApiError;

/// Which output, up to Nix 2.34.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    realisation: String,
}

/// Which output, from Nix 2.35 on.
#[derive(Debug, Deserialize)]
pub(super) struct TraceAddress {
    derivation: String,
    output: String,
}

/// Tells what an output of a content-addressed derivation turned out to be, as Nix up to 2.34 asks.
///
/// It is asked by `sha256:<hash modulo of the derivation>!<output>`.
#[utoipa::path(
    method(get, head),
    path = "/realisations/{realisation}.doi",
    responses((status = 200, description = "What it turned out to be, signed.", content(
        (Object = "application/json", example = json!({"id": "sha256:cd3fb99ab4ff9a748dba4d04fb9923d0b19103600a14c6381c1402e7419ee295!out",
            "outPath": "qkcjym7f4s8gzgna572cn811pjqm9cj4-ca", "dependentRealisations": {}, "signatures": []})),
    )))
)]
pub(super) async fn realisation(pull: Pull, address: web::Path<Address>) -> Result<HttpResponse, Refusal> {
    show(&pull, RealisationName::of_realisation(&address.realisation)).await
}

/// Keeps what an output of a content-addressed derivation turned out to be, as Nix up to 2.34 sends it.
#[utoipa::path(
    put,
    path = "/realisations/{realisation}.doi",
    request_body(content = String, content_type = "application/json"),
    responses((status = 200, description = "The path that is kept: where two builds disagree, the first one stays.",
        body = String, content_type = "text/plain", example = "qkcjym7f4s8gzgna572cn811pjqm9cj4-ca\n"))
)]
pub(super) async fn put_realisation(push: Push, address: web::Path<Address>, sent: Sent) -> Result<HttpResponse, Refusal> {
    let expected = "the file has to be called realisations/sha256:<64 hexadecimal digits>!<output>.doi";
    keep(&push, RealisationName::of_realisation(&address.realisation), sent, expected).await
}

/// Tells what an output of a content-addressed derivation turned out to be, as Nix from 2.35 on asks.
#[utoipa::path(
    method(get, head),
    path = "/build-trace-v2/{derivation}/{output}.doi",
    responses((status = 200, description = "What it turned out to be, signed.", content(
        (Object = "application/json", example = json!({"outPath": "qkcjym7f4s8gzgna572cn811pjqm9cj4-ca",
            "signatures": [{"keyName": "gradient.example.com-main", "sig": "LQ=="}]})),
    )))
)]
pub(super) async fn build_trace(pull: Pull, address: web::Path<TraceAddress>) -> Result<HttpResponse, Refusal> {
    show(&pull, RealisationName::of_build_trace(&address.derivation, &address.output)).await
}

/// Keeps what an output of a content-addressed derivation turned out to be, as Nix from 2.35 on sends it.
#[utoipa::path(
    put,
    path = "/build-trace-v2/{derivation}/{output}.doi",
    request_body(content = String, content_type = "application/json"),
    responses((status = 200, description = "The path that is kept: where two builds disagree, the first one stays.",
        body = String, content_type = "text/plain", example = "qkcjym7f4s8gzgna572cn811pjqm9cj4-ca\n"))
)]
pub(super) async fn put_build_trace(push: Push, address: web::Path<TraceAddress>, sent: Sent) -> Result<HttpResponse, Refusal> {
    let expected = "the file has to be called build-trace-v2/<derivation>.drv/<output>.doi";
    keep(&push, RealisationName::of_build_trace(&address.derivation, &address.output), sent, expected).await
}

async fn show(pull: &Pull, name: Option<RealisationName>) -> Result<HttpResponse, Refusal> {
    let name = name.ok_or_else(|| pull.not_found())?;
    let json = pull.engine.cached_realisation(&pull.cache, &pull.caller, name).await.map_err(pull.failed())?;
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(json.ok_or_else(|| pull.not_found())?))
}

async fn keep(push: &Push, name: Option<RealisationName>, sent: Sent, expected: &str) -> Result<HttpResponse, Refusal> {
    let name = name.ok_or_else(|| push.refused(ApiError::bad_request(expected)))?;
    let (body, encoding) = sent.all(MAX_BYTES).await.map_err(push.failed())?;
    let kept = push.engine.upload_realisation(&push.cache, &push.uploader, name, body.bytes(), &encoding).await;
    let kept = kept.map_err(push.failed())?;
    Ok(HttpResponse::Ok().content_type(ContentType::plaintext()).body(format!("{kept}\n")))
}
