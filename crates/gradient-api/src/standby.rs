//! What a server answers that does not lead: that it is there, and that it is to be asked again soon.

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::header::{self, ContentType, HeaderValue},
    web,
};

use crate::{ApiError, envelope::Answer, error::Code};

/// Seconds after which it is worth asking again: a server takes over within five.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.route("/api/v1/health", web::get().to(health)).default_service(web::to(refuse));
}

async fn health() -> Answer<&'static str> {
    Answer("200 STANDBY")
}

/// Nix shows its users what a cache says.
async fn refuse(request: HttpRequest) -> HttpResponse {
    let error = ApiError::new(Code::Unavailable, "this server is a standby, and another one leads: try again soon");
    let mut response = if request.path().starts_with("/cache/") {
        HttpResponse::build(error.status_code()).content_type(ContentType::plaintext()).body(format!("{error}\n"))
    } else {
        error.error_response()
    };
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}
