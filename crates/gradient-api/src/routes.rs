//! All routes.

mod auth;
pub(crate) mod builds;
mod cache_keys;
mod caches;
mod collections;
mod commits;
mod direct_builds;
mod docs;
pub(crate) mod evaluations;
mod fields;
mod keys;
mod members;
mod organizations;
mod pins;
mod projects;
mod roles;
mod server;
mod subscriptions;
mod upstreams;
mod user;
mod workers;

use actix_web::{HttpResponse, http::Method, middleware::from_fn, web};

use crate::{
    ApiError, ApiSettings,
    body::BodyLimits,
    cache_root,
    endpoints::{Endpoints, resource},
    metrics,
    scope::Identified,
    worker_socket, worker_transfer,
};

pub(crate) fn configure(config: &mut web::ServiceConfig, settings: &ApiSettings, transfer_limits: &web::Data<BodyLimits>) {
    let query = web::QueryConfig::default().error_handler(|error, request| query_error(&error, request.query_string()).into());
    config
        .app_data(query)
        .app_data(web::PayloadConfig::new(settings.max_request_bytes))
        .service(
            web::scope("/api/v1")
                .configure(|config| endpoints().configure(config))
                .default_service(web::to(unknown_endpoint))
                .wrap(from_fn(cache_root::forget_readers_after_changes)),
        )
        .configure(docs::configure)
        .service(resource("/proto", [(Method::GET, web::to(worker_socket::connect))]))
        .configure(|config| metrics::configure(config, settings.metrics.as_ref()))
        .configure(|config| worker_transfer::configure(config, transfer_limits))
        .configure(cache_root::configure)
        .default_service(web::to(unknown));
}

/// All endpoints of the REST API.
pub(crate) fn endpoints() -> Endpoints {
    let modules = [
        server::endpoints,
        auth::endpoints,
        user::endpoints,
        keys::endpoints,
        organizations::endpoints,
        members::endpoints,
        roles::endpoints,
        subscriptions::endpoints,
        workers::endpoints,
        caches::endpoints,
        cache_keys::endpoints,
        upstreams::endpoints,
        pins::endpoints,
        collections::endpoints,
        evaluations::endpoints,
        projects::endpoints,
        builds::endpoints,
        direct_builds::endpoints,
        commits::endpoints,
    ];
    modules.iter().map(|endpoints| endpoints()).collect()
}

/// Below `/api/v1`, what is not there and what is private look the same to somebody who is nobody.
async fn unknown_endpoint(_: Identified) -> Result<HttpResponse, ApiError> {
    unknown().await
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
