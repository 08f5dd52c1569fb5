use std::time::Instant;

use actix_web::{
    Error, HttpResponse, ResponseError,
    body::{EitherBody, MessageBody, SizedStream},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderName},
    },
    middleware::Next,
    web,
};
use gradient_cache_protocol::{ingest::NarFileName, narinfo::CONTENT_TYPE};
use gradient_domain::CacheName;
use gradient_engine::{Engine, UPSTREAM_HEADER};
use gradient_nix::{NarHash, StorePathHash};

use super::{
    nar::whole_nar,
    pull::credential,
    refusal::{Form, Refusal},
};
use crate::{
    metrics::RememberedMetrics,
    rate_limit::{Client, RateLimiter},
    request_id,
};

/// Answers what memory alone can, before the request is routed: nearly all that Nix asks a cache for are narinfos and NARs that were
/// served a moment ago, and hashes that the cache does not have. To route them would take longer than to answer. The answers are those
/// of the handlers, [`narinfo`](super::narinfo::narinfo) and [`nar`](super::nar::nar); whatever memory is not sure of goes on to them.
pub(crate) async fn answer(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    match from_memory(&request) {
        Some(response) => Ok(request.into_response(response).map_into_right_body()),
        None => Ok(next.call(request).await?.map_into_left_body()),
    }
}

fn from_memory(request: &ServiceRequest) -> Option<HttpResponse> {
    let (name, asked) = asked(request)?;
    let began = Instant::now();
    let engine = request.app_data::<web::Data<Engine>>()?;
    let cache = engine.remembered_cache(&name)?;
    let mut client = None;
    let mut credentials = request.headers().get_all(header::AUTHORIZATION);
    match (credentials.next(), credentials.next()) {
        (None, _) if cache.public => {}
        // Which of several is meant, nobody knows.
        (None, _) | (Some(_), Some(_)) => return None,
        (Some(authorization), None) => {
            let bearer = credential(authorization.to_str().ok()?)?;
            let reader = engine.remembered_reader(bearer.expose())?;
            if !cache.public && !reader.is_known_to_read(&cache) {
                return None;
            }
            client = reader.caller.user().map(|user| Client::User(user.user));
        }
    }
    // The refusal is the business of those that the request goes on to.
    let admit = || request.app_data::<web::Data<RateLimiter>>()?.admit_to_cache(request, client).ok();
    let metrics = request.app_data::<web::Data<RememberedMetrics>>()?;
    let mut response = match asked {
        Asked::Narinfo(hash) => {
            let remembered = engine.remembered_narinfo(&cache, hash)?;
            if !remembered.is_there() && cache.has_upstreams() && !request.headers().contains_key(UPSTREAM_HEADER) {
                return None;
            }
            admit()?;
            let text = engine.serve_remembered(&cache, hash, remembered);
            metrics.count_narinfo(request.method(), text.is_some(), began);
            match text {
                Some(text) => HttpResponse::Ok().content_type(CONTENT_TYPE).body(text),
                None => Refusal::not_found(Form::Text).error_response(),
            }
        }
        Asked::Nar(hash) => {
            let nar = engine.remembered_nar(&cache, hash)?;
            let blob = engine.open_nar_in_place(&nar)?;
            admit()?;
            metrics.count_nar(nar.file_size, began);
            whole_nar(&cache, &nar).body(SizedStream::new(blob.size, blob.stream))
        }
    };
    request_id::set(response.headers_mut(), &request_id::of(request));
    Some(response)
}

enum Asked {
    /// A narinfo as text.
    Narinfo(StorePathHash),
    /// All of a NAR, whatever the client has of it.
    Nar(NarHash),
}

/// What is asked, and of which cache. Of a path that is written in another way, the router makes sense.
fn asked(request: &ServiceRequest) -> Option<(CacheName, Asked)> {
    const CONDITIONS: [HeaderName; 3] = [header::RANGE, header::IF_NONE_MATCH, header::IF_RANGE];
    if !matches!(*request.method(), Method::GET | Method::HEAD) || !request.query_string().is_empty() {
        return None;
    }
    let (name, file) = request.path().strip_prefix("/cache/")?.split_once('/')?;
    let asked = if let Some(hash) = file.strip_suffix(".narinfo") {
        Asked::Narinfo(hash.parse().ok()?)
    } else {
        let file: NarFileName = file.strip_prefix("nar/")?.parse().ok()?;
        let is_whole = *request.method() == Method::GET && !CONDITIONS.iter().any(|name| request.headers().contains_key(name));
        if !is_whole || file.extension() != "zst" {
            return None;
        }
        Asked::Nar(file.hash())
    };
    Some((name.parse().ok()?, asked))
}
