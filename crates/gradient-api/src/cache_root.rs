//! The binary cache as Nix's clients see it, below `/cache/{cache}`.
//!
//! What is unknown, and what the caller may not know, is a 404: Nix takes every other refusal for a broken server.

mod info;
mod log;
mod nar;
mod narinfo;
mod pull;
mod refusal;
mod serve;

use actix_web::{
    FromRequest, Handler, Resource, Responder,
    http::Method,
    web::{self, ServiceConfig},
};

use crate::routes::resource;

pub(crate) use pull::credential;

/// Adds the routes.
pub(crate) fn configure(config: &mut ServiceConfig) {
    config.service(
        web::scope("/cache/{cache}")
            .service(read("/nix-cache-info", info::nix_cache_info))
            .service(read("/gradient-cache-info", info::gradient_cache_info))
            .service(read("/{hash}.narinfo", narinfo::narinfo))
            .service(read("/{hash}.ls", narinfo::listing))
            .service(read("/ls/{hash}", narinfo::listing))
            .service(read("/nar/{hash}.nar.zst", nar::nar))
            .service(read("/log/{derivation}", log::log))
            .service(read("/serve/{hash}", serve::serve))
            .service(read("/serve/{hash}/{path:.*}", serve::serve))
            .default_service(web::to(refusal::unknown)),
    );
}

fn read<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args, Output: Responder + 'static> + Copy,
    Args: FromRequest + 'static,
{
    resource(path, [(Method::GET, web::to(handler)), (Method::HEAD, web::to(handler))])
}
