//! `/api/docs`: the description of the API as a page, at which it can be tried.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    http::{Method, header},
    web::{self, ServiceConfig},
};
use utoipa_swagger_ui::Config;

use crate::{ApiError, endpoints::resource, error::Code};

/// Nothing but the page's own files and the server itself. Its styles are partly in its elements, its pictures partly in its
/// styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(resource("/api/docs", [(Method::GET, web::to(enter))]))
        .service(resource("/api/docs/{file:.*}", [(Method::GET, web::to(file))]));
}

/// The page names its files as those beside it.
async fn enter() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/api/docs/")).finish()
}

async fn file(name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    // No validator: that would be somebody else's server.
    let config = Arc::new(Config::from("/api/v1/openapi.json").validator_url("none").display_request_duration(true));
    let found = utoipa_swagger_ui::serve(&name, config).map_err(|error| {
        tracing::error!(error = %error, file = %name, "a file of the API's page cannot be shown");
        ApiError::new(Code::Internal, "internal server error")
    })?;
    let file = found.ok_or_else(|| ApiError::not_found("there is nothing at this path"))?;
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let mut response = HttpResponse::Ok();
    for header in headers {
        response.insert_header(header);
    }
    Ok(response.content_type(file.content_type).body(file.bytes.into_owned()))
}
