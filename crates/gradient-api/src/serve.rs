//! The HTTP server.

use std::{io, net::TcpListener, num::NonZeroUsize, thread, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::Server,
    http::header,
    middleware::{DefaultHeaders, from_fn},
    web,
};
use gradient_engine::Engine;

use crate::{
    Certificate, MetricsAccess, RateLimits, TrustedProxies,
    body::BodyLimits,
    cache_root,
    connections::{self, Connections},
    metrics::{self, RememberedMetrics},
    rate_limit::{self, RateLimiter},
    request_id, routes,
    scope::StreamReview,
    worker_transfer,
};

/// What the HTTP side can be set to.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The largest body of a request that is no upload, in bytes.
    pub max_request_bytes: usize,
    /// How long a client may take to send the head of a request, a body that is no upload, or to read a piece of an answer.
    pub request_timeout: Duration,
    /// How long a connection may be idle between two requests.
    pub keep_alive: Duration,
    /// How many connections may be open; others wait until one of them ends.
    pub max_connections: usize,
    /// How often it is decided again whether a client may go on to read a stream that does not end by itself.
    pub stream_review: Duration,
    /// How often a client may ask.
    pub rate_limits: RateLimits,
    /// The proxies whose word about the client's address counts.
    pub trusted_proxies: TrustedProxies,
    /// Who may read what the server counts; nobody when there is none.
    pub metrics: Option<MetricsAccess>,
    /// What the server shows to its clients, whom it speaks TLS with then, and nothing else.
    pub certificate: Option<Certificate>,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            max_request_bytes: 2 << 20,
            request_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            max_connections: 16_384,
            stream_review: Duration::from_mins(1),
            rate_limits: RateLimits::default(),
            trusted_proxies: TrustedProxies::default(),
            metrics: None,
            certificate: None,
        }
    }
}

/// How long a connection that ends may take to read the last of its answer, or to send what nobody wants any more.
const LINGER: Duration = Duration::from_secs(10);

/// How long a client may take to agree on how the connection is protected.
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves an application on a listener, within the limits that hold for all connections.
macro_rules! listen {
    ($settings:expr, $listener:expr, $application:expr) => {{
        let (request_timeout, keep_alive) = ($settings.request_timeout, $settings.keep_alive);
        let tls = $settings.certificate.as_ref().map(Certificate::server_config).transpose().map_err(io::Error::other)?;
        let connections = Connections::watch(request_timeout + keep_alive);
        let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let max_connections = $settings.max_connections.div_ceil(workers).max(1);
        let server = HttpServer::new($application)
            .disable_signals()
            .shutdown_timeout(30)
            .workers(workers)
            .max_connections(max_connections)
            .client_request_timeout(request_timeout)
            .keep_alive(keep_alive)
            .client_disconnect_timeout(request_timeout.min(LINGER))
            .on_connect(move |stream, data| connections.opened(stream, data))
            // Who closes its side has gone: a stream that has nothing to say would wait for it for ever.
            .h1_allow_half_closed(false)
            .tcp_nodelay(true)
            .tls_handshake_timeout(request_timeout.min(TLS_HANDSHAKE));
        let server = match tls {
            // With HTTP/2 and HTTP/1.1, as the client likes it.
            Some(tls) => server.listen_rustls_0_23($listener, tls)?,
            None => server.listen($listener)?,
        };
        Ok(server.run())
    }};
}

/// Serves the REST API, the binary cache and the workers' socket on a listener. The answer is a future that runs until it is
/// stopped by its handle; signals are the caller's business. Needs a tokio runtime.
pub fn serve(engine: Engine, settings: ApiSettings, listener: TcpListener) -> io::Result<Server> {
    let engine = web::Data::new(engine);
    let limiter = web::Data::new(RateLimiter::new(&settings));
    let cache_metrics = web::Data::new(RememberedMetrics::new());
    let body_limits = web::Data::new(BodyLimits::new(settings.max_request_bytes, settings.request_timeout));
    let stream_review = web::Data::new(StreamReview(settings.stream_review));
    let transfer_limits = web::Data::new(worker_transfer::body_limits(&settings));
    listen!(settings, listener, move || {
        App::new()
            .app_data(engine.clone())
            .app_data(limiter.clone())
            .app_data(cache_metrics.clone())
            .app_data(body_limits.clone())
            .app_data(stream_review.clone())
            .wrap(from_fn(rate_limit::apply))
            .wrap(from_fn(request_id::attach))
            .wrap(from_fn(metrics::count))
            .wrap(from_fn(cache_root::answer_from_memory))
            .wrap(from_fn(connections::track))
            // What people and builds have written is never taken for a page or a script.
            .wrap(DefaultHeaders::new().add((header::X_CONTENT_TYPE_OPTIONS, "nosniff")))
            .configure(|config| routes::configure(config, &settings, &transfer_limits))
    })
}

/// Answers on a listener for a server that waits to lead: its health, and to everything else that it is not available. As
/// [`serve`], it runs until it is stopped by its handle.
pub fn standby(settings: &ApiSettings, listener: TcpListener) -> io::Result<Server> {
    listen!(settings, listener, || {
        App::new()
            .wrap(from_fn(request_id::attach))
            .wrap(from_fn(connections::track))
            .wrap(DefaultHeaders::new().add((header::X_CONTENT_TYPE_OPTIONS, "nosniff")))
            .configure(crate::standby::configure)
    })
}
