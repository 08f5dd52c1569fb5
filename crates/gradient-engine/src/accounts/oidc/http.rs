//! Requests to the provider: only where nobody listens in, not where a redirect leads, and no more than it may take or say.

use std::time::Duration;

use gradient_auth::oidc::{self, HttpRequest, http::Response};
use reqwest::redirect::Policy;
use thiserror::Error;

use crate::EngineError;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much the provider may say to one; its descriptions, keys and tokens have a few thousand bytes.
const MAX_BYTES: usize = 1 << 20;

#[derive(Debug, Clone)]
pub(super) struct Http(reqwest::Client);

/// Why a request has no answer.
#[derive(Debug, Error)]
pub(super) enum HttpError {
    #[error("the provider names the URL {0}, which is not https")]
    Unprotected(String),
    #[error("the provider's answer is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("the request has no answer")]
    Request(#[source] reqwest::Error),
    #[error("the answer is not HTTP")]
    Malformed(#[source] oidc::http::Error),
}

impl Http {
    pub(super) fn new() -> Result<Self, EngineError> {
        let client = reqwest::Client::builder().redirect(Policy::none()).timeout(TIMEOUT).connect_timeout(TIMEOUT).build();
        client.map(Self).map_err(EngineError::HttpClient)
    }

    pub(super) async fn send(self, request: HttpRequest) -> Result<Response<Vec<u8>>, HttpError> {
        let request = reqwest::Request::try_from(request).map_err(HttpError::Request)?;
        if !oidc::is_confidential(request.url()) {
            return Err(HttpError::Unprotected(request.url().to_string()));
        }
        // The URL may have a secret in it.
        let mut answer = self.0.execute(request).await.map_err(|error| HttpError::Request(error.without_url()))?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            response = response.header(name, value);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| HttpError::Request(error.without_url()))? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(HttpError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        response.body(body).map_err(HttpError::Malformed)
    }
}
