//! The HTTP server.

use std::{net::TcpListener, time::Duration};

use actix_web::{App, HttpServer, dev::Server, middleware::from_fn, web};
use gradient_engine::Engine;

use crate::{
    MetricsAccess, RateLimits, TrustedProxies, metrics,
    rate_limit::{self, RateLimiter},
    request_id, routes,
};

/// What the HTTP side can be set to.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The largest body of a request that is no upload, in bytes.
    pub max_request_bytes: usize,
    /// How often a client may ask.
    pub rate_limits: RateLimits,
    /// The proxies whose word about the client's address counts.
    pub trusted_proxies: TrustedProxies,
    /// Who may read what the server counts; nobody when there is none.
    pub metrics: Option<MetricsAccess>,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            max_request_bytes: 2 << 20,
            rate_limits: RateLimits::default(),
            trusted_proxies: TrustedProxies::default(),
            metrics: None,
        }
    }
}

/// Serves the REST API, the binary cache and the workers' socket on a listener. The answer is a future that runs until it is
/// stopped by its handle; signals are the caller's business. Needs a tokio runtime.
pub fn serve(engine: Engine, settings: ApiSettings, listener: TcpListener) -> std::io::Result<Server> {
    let engine = web::Data::new(engine);
    let limiter = web::Data::new(RateLimiter::new(&settings));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(engine.clone())
            .app_data(limiter.clone())
            .wrap(from_fn(rate_limit::apply))
            .wrap(from_fn(request_id::attach))
            .wrap(from_fn(metrics::count))
            .configure(|config| routes::configure(config, &settings))
    });
    let server = server
        .disable_signals()
        .shutdown_timeout(30)
        .client_request_timeout(Duration::from_secs(30))
        .tcp_nodelay(true)
        .listen(listener)?;
    Ok(server.run())
}
