use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{Method, header::ContentType},
    web,
};
use gradient_nix::StorePath;
use serde::Deserialize;

use super::{
    pull::Pull,
    push::{Push, Sent},
    refusal::Refusal,
};
use crate::{ApiError, files::Unsent};

/// Which log, by the basename of its derivation, with or without `.drv`.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    derivation: String,
}

/// Sends the log of a build, as `nix log` asks for it.
///
/// The derivation may be named with or without `.drv`.
#[utoipa::path(
    method(get, head),
    path = "/log/{derivation}",
    responses((status = 200, description = "The log.", body = String, content_type = "text/plain"))
)]
pub(super) async fn log(pull: Pull, request: HttpRequest, address: web::Path<Address>) -> Result<HttpResponse, Refusal> {
    let name = address.derivation.strip_suffix(".drv").unwrap_or(&address.derivation);
    let derivation = format!("{name}.drv").parse::<StorePath>().map_err(|_| pull.not_found())?;
    let log = pull.engine.cached_log(&pull.cache, derivation).await.map_err(pull.failed())?;
    let log = log.ok_or_else(|| pull.not_found())?;
    let mut response = HttpResponse::Ok();
    response.content_type(ContentType::plaintext());
    Ok(if *request.method() == Method::HEAD {
        response.body(Unsent(log.size))
    } else {
        response.body(SizedStream::new(log.size, log.stream))
    })
}

/// Keeps the log of a build that was made elsewhere, as `nix store copy-log --to` sends it.
#[utoipa::path(
    put,
    path = "/log/{derivation}",
    request_body(content = Option<String>, content_type = "text/plain"),
    responses((status = 200, description = "It is kept."))
)]
pub(super) async fn put_log(push: Push, address: web::Path<Address>, sent: Sent) -> Result<HttpResponse, Refusal> {
    let name = address.derivation.strip_suffix(".drv").unwrap_or(&address.derivation);
    let derivation = format!("{name}.drv").parse::<StorePath>();
    let derivation = derivation.map_err(|_| push.refused(ApiError::bad_request("logs are named by their derivations")))?;
    let encoding = sent.encoding().to_owned();
    let kept = push.engine.upload_log(&push.cache, &push.uploader, derivation, &encoding, sent.stream()).await;
    kept.map_err(push.failed())?;
    Ok(HttpResponse::Ok().finish())
}
