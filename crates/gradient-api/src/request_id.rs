//! Gives each request an id: the one it brought, or a new one. The answer carries it, and so does every log line of the request.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
};
use tracing::Instrument;
use uuid::Uuid;

const NAME: HeaderName = HeaderName::from_static("x-request-id");

pub(crate) async fn attach(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = of(&request);
    let span = tracing::info_span!("request", id, method = %request.method(), path = request.path());
    let mut response = next.call(request).instrument(span).await?;
    set(response.headers_mut(), &id);
    Ok(response)
}

/// The id of a request.
pub(crate) fn of(request: &ServiceRequest) -> String {
    brought(request).unwrap_or_else(|| Uuid::now_v7().to_string())
}

/// Says in an answer which request it is to.
pub(crate) fn set(headers: &mut HeaderMap, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(NAME, value);
    }
}

/// An id from outside goes into logs, so only a tame one is taken.
fn brought(request: &ServiceRequest) -> Option<String> {
    let id = request.headers().get(NAME)?.to_str().ok()?;
    let tame = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    (!id.is_empty() && id.len() <= 128 && id.chars().all(tame)).then(|| id.to_owned())
}
