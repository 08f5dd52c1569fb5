//! The table of all routes.

mod auth;
pub(crate) mod builds;
mod caches;
mod commits;
pub(crate) mod evaluations;
mod fields;
mod keys;
mod members;
mod organizations;
mod projects;
mod roles;
mod server;
mod subscriptions;
mod user;
mod workers;

use actix_web::{
    HttpResponse, Resource, ResponseError, Route,
    http::{Method, header},
    web,
};

use crate::{ApiError, ApiSettings, cache_root, error::Code, worker_socket, worker_transfer};

pub(crate) fn configure(config: &mut web::ServiceConfig, settings: &ApiSettings) {
    let limit = settings.max_request_bytes;
    let json =
        web::JsonConfig::default().limit(limit).content_type_required(false).error_handler(|error, _| json_error(&error).into());
    let query = web::QueryConfig::default().error_handler(|error, request| query_error(&error, request.query_string()).into());
    config
        .app_data(json)
        .app_data(query)
        .app_data(web::PayloadConfig::new(limit))
        .service(web::scope("/api/v1").configure(api).default_service(web::to(unknown)))
        .service(resource("/proto", [(Method::GET, web::to(worker_socket::connect))]))
        .configure(worker_transfer::configure)
        .configure(cache_root::configure)
        .default_service(web::to(unknown));
}

fn api(config: &mut web::ServiceConfig) {
    config
        .configure(server::configure)
        .configure(auth::configure)
        .configure(user::configure)
        .configure(keys::configure)
        .configure(organizations::configure)
        .configure(members::configure)
        .configure(roles::configure)
        .configure(subscriptions::configure)
        .configure(workers::configure)
        .configure(caches::configure)
        .configure(evaluations::configure)
        .configure(projects::configure)
        .configure(builds::configure)
        .configure(commits::configure);
}

/// A resource with its methods; any other method is answered with those that there are.
pub(crate) fn resource<const N: usize>(path: &str, methods: [(Method, Route); N]) -> Resource {
    let allowed: Vec<String> = methods.iter().map(|(method, _)| method.to_string()).collect();
    let allowed = allowed.join(", ");
    let resource =
        methods.into_iter().fold(web::resource(path), |resource, (method, route)| resource.route(route.method(method)));
    resource.default_service(web::to(move || std::future::ready(method_not_allowed(&allowed))))
}

fn method_not_allowed(allowed: &str) -> HttpResponse {
    let error = ApiError::new(Code::MethodNotAllowed, format!("this path takes {allowed} only"));
    let mut response = error.error_response();
    if let Ok(value) = header::HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

async fn unknown() -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found("there is nothing at this path"))
}

/// The error itself does not say which parameter it is about, so the query is told with it.
fn query_error(error: &actix_web::error::QueryPayloadError, query: &str) -> ApiError {
    use actix_web::error::QueryPayloadError;
    let query: String = query.chars().take(200).collect();
    match error {
        QueryPayloadError::Deserialize(error) => {
            ApiError::bad_request(format!("the query `{query}` is not what is expected: {error}"))
        }
        _ => ApiError::bad_request(format!("the query `{query}` cannot be read")),
    }
}

fn json_error(error: &actix_web::error::JsonPayloadError) -> ApiError {
    use actix_web::error::{JsonPayloadError, PayloadError};
    match error {
        JsonPayloadError::OverflowKnownLength { limit, .. } | JsonPayloadError::Overflow { limit } => {
            ApiError::new(Code::PayloadTooLarge, format!("the body is larger than {limit} bytes"))
        }
        JsonPayloadError::Payload(PayloadError::Overflow) => ApiError::new(Code::PayloadTooLarge, "the body is too large"),
        JsonPayloadError::Deserialize(error) => ApiError::bad_request(format!("the body is not what is expected: {error}")),
        other => ApiError::bad_request(format!("the body cannot be read: {other}")),
    }
}
