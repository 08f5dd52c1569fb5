//! The binary cache as Nix's clients see it, below `/cache/{cache}`.
//!
//! What is unknown, and what the caller may not know, is a 404: Nix takes every other refusal for a broken server.

mod debuginfo;
mod info;
mod log;
mod nar;
mod narinfo;
mod pull;
mod push;
mod realisation;
mod refusal;
mod remembered;
mod serve;
mod uploads;

use actix_web::web::{self, ServiceConfig};

use crate::endpoints::{Endpoints, endpoints};

pub(crate) use pull::{credential, forget_readers_after_changes};
pub(crate) use remembered::answer as answer_from_memory;

/// Adds the routes.
pub(crate) fn configure(config: &mut ServiceConfig) {
    let scope = web::scope("/cache/{cache}").configure(|config| endpoints().configure(config));
    config.service(scope.default_service(web::to(refusal::unknown)));
}

/// All that Nix asks and sends.
pub(crate) fn endpoints() -> Endpoints {
    endpoints! { BinaryCache:
        info::nix_cache_info;
        uploads::put_nix_cache_info;
        info::gradient_cache_info;
        narinfo::narinfo;
        narinfo::put_narinfo => Conflict;
        narinfo::listing;
        narinfo::listing_beside;
        uploads::put_listing;
        nar::nar;
        nar::put_nar;
        log::log;
        log::put_log;
        serve::serve_root;
        serve::serve;
        realisation::realisation;
        realisation::put_realisation;
        realisation::build_trace;
        realisation::put_build_trace;
        debuginfo::debuginfo;
        uploads::put_debuginfo;
        uploads::get_missing_paths;
        uploads::begin => Conflict;
        uploads::offset;
        uploads::piece => Conflict;
        uploads::finish => Conflict;
        uploads::give_up;
    }
}
