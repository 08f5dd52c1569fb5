//! `object_store` can put under the condition that a key is free, but completes multipart uploads without any. The protocol has the
//! same header for both, which need not be signed, so it is added where the request leaves.

use std::pin::Pin;

use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector},
};
use reqwest::{
    Method,
    header::{HeaderValue, IF_NONE_MATCH},
};

/// One pool of connections for several stores.
#[derive(Debug, Clone)]
pub(super) struct Connection(HttpClient);

impl Connection {
    pub(super) fn open(options: &ClientOptions) -> object_store::Result<Self> {
        ReqwestConnector::default().connect(options).map(Self)
    }

    /// The same connections, for multipart uploads that must not replace anything.
    pub(super) fn conditional(self) -> Self {
        Self(HttpClient::new(Conditional(self.0)))
    }
}

impl HttpConnector for Connection {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

#[derive(Debug)]
struct Conditional(HttpClient);

impl HttpService for Conditional {
    fn call<'a, 'sent>(
        &'a self,
        mut request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'sent>>
    where
        'a: 'sent,
        Self: 'sent,
    {
        let completes = request.uri().query().is_some_and(|query| query.contains("uploadId="));
        if *request.method() == Method::POST && completes {
            request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        Box::pin(self.0.execute(request))
    }
}
