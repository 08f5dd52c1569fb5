//! `GET /metrics` for Prometheus, and what is counted of every request.

use std::{fmt, sync::Arc, time::Instant};

use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::{BodySize, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header},
    middleware::Next,
    web,
};
use gradient_auth::SecretHash;
use gradient_engine::Engine;
use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};

use crate::{ApiError, endpoints::resource};

/// Who may read the numbers, and where they come from.
#[derive(Clone)]
pub struct MetricsAccess {
    token: SecretHash,
    render: Arc<dyn Fn() -> String + Send + Sync>,
}

impl MetricsAccess {
    /// For the bearer of `token`: what `render` answers, in Prometheus' text format.
    pub fn new(token: &str, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { token: SecretHash::of(token.as_bytes()), render: Arc::new(render) }
    }

    fn is_open_to(&self, request: &HttpRequest) -> bool {
        let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        token.is_some_and(|(_, token)| self.token.matches(&SecretHash::of(token.trim().as_bytes())))
    }
}

impl fmt::Debug for MetricsAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsAccess").finish_non_exhaustive()
    }
}

/// The routes of narinfos and NARs.
const NARINFO: &str = "/cache/{cache}/{hash}.narinfo";
const NAR: &str = "/cache/{cache}/nar/{file}";

/// Without access there is nothing at this path.
pub(crate) fn configure(config: &mut web::ServiceConfig, access: Option<&MetricsAccess>) {
    if let Some(access) = access {
        describe();
        config.app_data(web::Data::new(access.clone()));
        config.service(resource("/metrics", [(Method::GET, web::to(show))]));
    }
}

async fn show(
    request: HttpRequest,
    access: web::Data<MetricsAccess>,
    engine: web::Data<Engine>,
) -> Result<HttpResponse, ApiError> {
    if !access.is_open_to(&request) {
        return Err(ApiError::unauthorized());
    }
    engine.measure().await;
    let text = (access.render)();
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

fn describe() {
    describe_counter!("gradient_http_requests_total", "Answered requests, by route, method and class of status");
    describe_histogram!(
        "gradient_http_request_duration_seconds",
        Unit::Seconds,
        "From the request's head to the beginning of the answer, by route and method"
    );
    describe_counter!("gradient_cache_requests_total", "Narinfos and NARs that caches were asked for, by kind and result");
    describe_counter!("gradient_cache_sent_bytes_total", Unit::Bytes, "Bytes of NARs that caches answered with");
}

/// Counts a request when its answer begins.
pub(crate) async fn count<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let (began, method) = (Instant::now(), request.method().clone());
    let response = next.call(request).await?;
    let route = response.request().match_pattern().unwrap_or_else(|| "none".to_owned());
    count_cache(&route, &method, &response);
    let method = known(&method);
    histogram!("gradient_http_request_duration_seconds", "route" => route.clone(), "method" => method).record(began.elapsed());
    counter!("gradient_http_requests_total", "route" => route, "method" => method, "status" => class(response.status()))
        .increment(1);
    Ok(response)
}

/// What [`count`] counts of narinfos and NARs that are answered from memory. These counters are looked up once, for the look-up would
/// take longer than the answer.
#[derive(Debug)]
pub(crate) struct RememberedMetrics {
    /// Narinfos that were not there, and those that were.
    got: [Answered; 2],
    asked: [Answered; 2],
    nars: Answered,
    sent_bytes: Counter,
}

/// Of one kind, method and result.
#[derive(Debug)]
struct Answered {
    durations: Histogram,
    requests: Counter,
    cache_requests: Counter,
}

impl RememberedMetrics {
    /// To be called when whoever counts is there already.
    pub(crate) fn new() -> Self {
        let narinfos = |method| [false, true].map(|is_there| Answered::new(NARINFO, "narinfo", method, is_there));
        Self {
            got: narinfos("GET"),
            asked: narinfos("HEAD"),
            nars: Answered::new(NAR, "nar", "GET", true),
            sent_bytes: counter!("gradient_cache_sent_bytes_total"),
        }
    }

    /// Counts a narinfo that was asked for by `GET` or `HEAD`.
    pub(crate) fn count_narinfo(&self, method: &Method, is_there: bool, began: Instant) {
        let [absent, there] = if *method == Method::HEAD { &self.asked } else { &self.got };
        if is_there { there } else { absent }.count(began);
    }

    /// Counts a NAR that is sent.
    pub(crate) fn count_nar(&self, bytes: u64, began: Instant) {
        self.nars.count(began);
        self.sent_bytes.increment(bytes);
    }
}

impl Answered {
    fn new(route: &'static str, kind: &'static str, method: &'static str, is_there: bool) -> Self {
        let (status, result) = if is_there { ("2xx", "hit") } else { ("4xx", "miss") };
        Self {
            durations: histogram!("gradient_http_request_duration_seconds", "route" => route, "method" => method),
            requests: counter!("gradient_http_requests_total", "route" => route, "method" => method, "status" => status),
            cache_requests: counter!("gradient_cache_requests_total", "kind" => kind, "result" => result),
        }
    }

    fn count(&self, began: Instant) {
        self.durations.record(began.elapsed());
        self.requests.increment(1);
        self.cache_requests.increment(1);
    }
}

/// Anybody can think of more methods, and each would be remembered.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// A cache was asked for a narinfo or a NAR.
fn count_cache<B: MessageBody>(route: &str, method: &Method, response: &ServiceResponse<B>) {
    let kind = match route {
        NARINFO => "narinfo",
        NAR => "nar",
        _ => return,
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        return;
    }
    let result = match response.status() {
        status if status.is_success() || status == StatusCode::NOT_MODIFIED => "hit",
        StatusCode::NOT_FOUND => "miss",
        _ => "refused",
    };
    counter!("gradient_cache_requests_total", "kind" => kind, "result" => result).increment(1);
    if let (BodySize::Sized(bytes), "nar", "hit", &Method::GET) = (response.response().body().size(), kind, result, method) {
        counter!("gradient_cache_sent_bytes_total").increment(bytes);
    }
}
