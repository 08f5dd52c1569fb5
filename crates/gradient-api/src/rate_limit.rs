//! Rate limits: each client has a token bucket in each tier of routes, and is refused with a 429 while it is empty.
//!
//! Clients are told apart by address, or by user once they have proved who they are, by session or API key. In the tier `auth` only
//! the address counts: an account buys no guesses at other people's passwords. Where users confirm something with their own
//! password, they have a bucket of that size each.

mod buckets;
mod client;
mod limit;
mod proxies;
mod tier;

use std::time::Duration;

use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, ContentType, HeaderValue},
    middleware::Next,
    web,
};
use gradient_engine::Engine;

use self::{buckets::Buckets, tier::Tier};
use crate::{ApiError, ApiSettings, error::Code};

pub(crate) use client::{Client, KnownCaller};
pub use limit::{RateLimit, RateLimitError, RateLimits};
pub use proxies::{TrustedProxies, TrustedProxiesError};

/// The buckets of all clients of a server, one set for each tier that is limited.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    auth: Option<Buckets>,
    password: Option<Buckets>,
    cache: Option<Buckets>,
    inspect: Option<Buckets>,
    log: Option<Buckets>,
    rest: Option<Buckets>,
    proxies: TrustedProxies,
}

impl RateLimiter {
    pub(crate) fn new(settings: &ApiSettings) -> Self {
        let limits = &settings.rate_limits;
        Self {
            auth: Buckets::new(limits.auth),
            password: Buckets::new(limits.auth),
            cache: Buckets::new(limits.cache),
            inspect: Buckets::new(limits.inspect),
            log: Buckets::new(limits.log),
            rest: Buckets::new(limits.default),
            proxies: settings.trusted_proxies.clone(),
        }
    }

    /// Takes a token for a request to the cache root; an error says when there will be one.
    pub(crate) fn admit_to_cache(&self, request: &ServiceRequest, proven: Option<Client>) -> Result<(), Duration> {
        let Some(buckets) = &self.cache else { return Ok(()) };
        buckets.take(proven.unwrap_or_else(|| self.at_address(request.request())))
    }

    const fn buckets(&self, tier: Tier) -> Option<&Buckets> {
        match tier {
            Tier::Auth => self.auth.as_ref(),
            Tier::Password => self.password.as_ref(),
            Tier::Cache => self.cache.as_ref(),
            Tier::Inspect => self.inspect.as_ref(),
            Tier::Log => self.log.as_ref(),
            Tier::Default => self.rest.as_ref(),
            Tier::Exempt => None,
        }
    }

    /// Takes a token for the request; an error says when there will be one.
    async fn admit(&self, request: &ServiceRequest, engine: &Engine) -> Result<(), Duration> {
        // As the router sees it: with `%6c` for an `l` a route stays in its tier.
        let tier = Tier::of(request.method(), request.match_info().unprocessed());
        let buckets = self.buckets(tier);
        // In the tier of the REST API the caller is asked for in any case.
        let wants_proof = tier == Tier::Default || (buckets.is_some() && tier != Tier::Auth);
        let proven = if wants_proof { client::proven(request, engine, tier).await } else { None };
        let Some(buckets) = buckets else { return Ok(()) };
        buckets.take(proven.unwrap_or_else(|| self.at_address(request.request())))
    }

    /// Who sends a request, in whatever session or with whatever key: as far as its credentials were looked at, a user.
    pub(crate) fn client(&self, request: &HttpRequest) -> Client {
        let known = request.extensions().get::<KnownCaller>().and_then(|KnownCaller(caller)| caller.user().copied());
        known.map_or_else(|| self.at_address(request), |user| Client::User(user.user))
    }

    fn at_address(&self, request: &HttpRequest) -> Client {
        Client::at(self.proxies.client_address(request))
    }
}

/// Refuses requests of clients that send too many.
pub(crate) async fn apply(
    limiter: web::Data<RateLimiter>,
    engine: web::Data<Engine>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    match limiter.admit(&request, &engine).await {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(wait) => {
            let refusal = refusal(wait, request.path());
            Ok(request.into_response(refusal).map_into_right_body())
        }
    }
}

/// The answer to a client that may come again after `wait`.
pub(crate) fn refusal(wait: Duration, path: &str) -> HttpResponse {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let seconds = seconds.max(1);
    let error = ApiError::new(Code::RateLimited, format!("too many requests: try again in {seconds} s"));
    let mut response = if path.starts_with("/cache/") {
        HttpResponse::TooManyRequests().content_type(ContentType::plaintext()).body(format!("{error}\n"))
    } else {
        error.error_response()
    };
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
