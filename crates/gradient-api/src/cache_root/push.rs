//! Uploads: who may send them, and how their bodies are read.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use gradient_auth::Decision;
use gradient_domain::CachePermission;
use gradient_engine::{Engine, ServedCache, Uploader};
use tokio::time::timeout;

use super::{
    pull::{self, Opened},
    refusal::{Form, Refusal},
};
use crate::{
    ApiError,
    body::{self, Received, Receiving},
    error::Code,
    openapi::{Credentials, Describe, Description, Permission},
    patience::Patience,
};

/// How long the sender may pause. Who is slow for longer than that is given up too.
const MAX_PAUSE: Duration = Duration::from_mins(2);

/// A cache that the caller may write to. A handler that takes it is reached by nobody else.
pub(super) struct Push {
    pub(super) engine: web::Data<Engine>,
    pub(super) cache: std::sync::Arc<ServedCache>,
    pub(super) form: Form,
    pub(super) uploader: Uploader,
}

impl Push {
    pub(super) fn refused(&self, error: impl Into<ApiError>) -> Refusal {
        Refusal::new(error.into(), self.form)
    }

    /// Turns errors into refusals.
    pub(super) fn failed<E: Into<ApiError>>(&self) -> impl Fn(E) -> Refusal + use<E> {
        Refusal::failed(self.form)
    }

    async fn open(request: HttpRequest) -> Result<Self, Refusal> {
        let Opened { engine, cache, form } = Opened::open(&request).await?;
        let caller = pull::caller(&engine, &request, form).await?;
        match engine.may_push(&cache, &caller).await.map_err(Refusal::failed(form))? {
            Ok(uploader) => Ok(Self { engine, cache, form, uploader }),
            Err(Decision::Anonymous) => {
                let message =
                    "uploads need an API key with `writeStore` on this cache: send it as the password, with any user name";
                Err(Refusal::new(ApiError::new(Code::Unauthorized, message), form))
            }
            Err(Decision::Denied) => {
                let message = "this needs the permission `writeStore` on the cache";
                Err(Refusal::new(ApiError::new(Code::Forbidden, message), form))
            }
            Err(Decision::Hidden | Decision::Granted) => Err(Refusal::not_found(form)),
        }
    }
}

impl FromRequest for Push {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        Box::pin(Self::open(request.clone()))
    }
}

impl Describe for Push {
    fn describe(description: &mut Description) {
        description.in_text();
        let errors = [Code::NotFound, Code::Forbidden, Code::BadRequest, Code::PayloadTooLarge, Code::Validation];
        description.needs(Permission::Cache(CachePermission::WriteStore), Credentials::Required, &errors);
    }
}

/// What the client sends, as it comes. Nothing of it is read before the handler asks.
pub(super) struct Sent {
    request: HttpRequest,
    payload: Payload,
    encoding: String,
    patience: Patience,
}

impl FromRequest for Sent {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let encoding = request.headers().get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        let encoding = encoding.unwrap_or_default().to_owned();
        std::future::ready(Ok(Self {
            request: request.clone(),
            payload: payload.take(),
            encoding,
            patience: Patience::new(MAX_PAUSE),
        }))
    }
}

impl Describe for Sent {}

impl Sent {
    /// How it is compressed for the way.
    pub(super) fn encoding(&self) -> &str {
        &self.encoding
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let begun = Instant::now();
        let next = timeout(self.patience.left(), self.payload.next()).await;
        self.patience.spend(begun.elapsed());
        match next {
            Ok(Some(Ok(bytes))) => {
                self.patience.earn(bytes.len());
                Ok(Some(bytes))
            }
            Ok(Some(Err(_))) => Err(ApiError::bad_request("the upload broke off; send it again")),
            Ok(None) => Ok(None),
            Err(_) => Err(ApiError::new(Code::RequestTimeout, "the upload is too slow: less than 64 KiB per second for long")),
        }
    }

    /// All of it, when it has at most so many bytes, and how it is compressed for the way. It is counted as every other body is.
    pub(super) async fn all(mut self, max_bytes: usize) -> Result<(Received, String), ApiError> {
        let request = self.request.clone();
        let (limits, sender) = body::bounds(&request)?;
        let mut receiving = Receiving::new(limits, sender, max_bytes);
        while let Some(bytes) = self.next().await? {
            receiving.push(&bytes)?;
        }
        Ok((receiving.finish(), self.encoding))
    }

    /// Reads it to its end, for nothing.
    pub(super) async fn discard(mut self, max_bytes: u64) -> Result<(), ApiError> {
        let mut left = max_bytes;
        while let Some(bytes) = self.next().await? {
            let rest = left.checked_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            left =
                rest.ok_or_else(|| ApiError::new(Code::PayloadTooLarge, format!("the body is larger than {max_bytes} bytes")))?;
        }
        Ok(())
    }

    /// It as a stream. After an error nothing comes.
    pub(super) fn stream(self) -> impl Stream<Item = Result<Bytes, ApiError>> {
        stream::unfold(Some(self), async |sent: Option<Self>| {
            let mut sent = sent?;
            match sent.next().await {
                Ok(bytes) => bytes.map(|bytes| (Ok(bytes), Some(sent))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}
