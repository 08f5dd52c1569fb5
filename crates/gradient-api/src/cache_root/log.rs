use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{Method, header::ContentType},
    web,
};
use gradient_nix::StorePath;
use serde::Deserialize;

use super::{pull::Pull, refusal::Refusal};
use crate::files::Unsent;

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
