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

use actix_web::web::{self, ServiceConfig};

use crate::endpoints::{Endpoints, endpoints};

pub(crate) use pull::credential;

/// Adds the routes.
pub(crate) fn configure(config: &mut ServiceConfig) {
    let scope = web::scope("/cache/{cache}").configure(|config| endpoints().configure(config));
    config.service(scope.default_service(web::to(refusal::unknown)));
}

/// All that Nix asks.
pub(crate) fn endpoints() -> Endpoints {
    endpoints! { BinaryCache:
        info::nix_cache_info;
        info::gradient_cache_info;
        narinfo::narinfo;
        narinfo::listing;
        narinfo::listing_beside;
        nar::nar;
        log::log;
        serve::serve_root;
        serve::serve;
    }
}
