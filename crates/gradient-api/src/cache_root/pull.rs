use std::{future::Future, pin::Pin, sync::Arc};

use actix_web::{
    Error, FromRequest, HttpRequest,
    body::MessageBody,
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gradient_auth::{Caller, Decision};
use gradient_domain::{CacheName, CachePermission, Secret};
use gradient_engine::{Engine, EngineError, Reader, ServedCache, UPSTREAM_HEADER};

use super::refusal::{Form, Refusal};
use crate::{
    error::Code,
    openapi::{Credentials, Describe, Description, Permission},
};

/// A cache that the caller may read. A handler that takes it is reached by nobody else.
pub(super) struct Pull {
    pub(super) engine: web::Data<Engine>,
    pub(super) cache: Arc<ServedCache>,
    pub(super) form: Form,
    /// Who asks; nobody in particular where everybody may read.
    pub(super) caller: Caller,
    /// Whether what the cache does not have is looked for in its upstreams: not for one that is asked as an upstream itself.
    pub(super) looks_further: bool,
}

/// A cache, before it is known who asks.
pub(super) struct Opened {
    pub(super) engine: web::Data<Engine>,
    pub(super) cache: Arc<ServedCache>,
    pub(super) form: Form,
}

impl Opened {
    pub(super) async fn open(request: &HttpRequest) -> Result<Self, Refusal> {
        let form = Form::of(request);
        let engine = request.app_data::<web::Data<Engine>>().ok_or_else(|| Refusal::not_found(form))?.clone();
        let name = request.match_info().get("cache").and_then(|name| name.parse::<CacheName>().ok());
        let name = name.ok_or_else(|| Refusal::not_found(form))?;
        let cache = engine.served_cache(&name).await.map_err(Refusal::failed(form))?;
        let cache = cache.ok_or_else(|| Refusal::not_found(form))?;
        Ok(Self { engine, cache, form })
    }
}

impl Pull {
    pub(super) fn not_found(&self) -> Refusal {
        Refusal::not_found(self.form)
    }

    /// Turns errors into refusals.
    pub(super) fn failed(&self) -> impl Fn(EngineError) -> Refusal + use<> {
        Refusal::failed(self.form)
    }

    async fn open(request: HttpRequest) -> Result<Self, Refusal> {
        let Opened { engine, cache, form } = Opened::open(&request).await?;
        let (caller, decision) = reads(&engine, &request, &cache, form).await?;
        match decision {
            Decision::Granted => {
                let looks_further = !request.headers().contains_key(UPSTREAM_HEADER);
                Ok(Self { engine, cache, form, caller, looks_further })
            }
            Decision::Anonymous => Err(Refusal::unauthorized(form)),
            Decision::Hidden | Decision::Denied => Err(Refusal::not_found(form)),
        }
    }
}

impl FromRequest for Pull {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        Box::pin(Self::open(request.clone()))
    }
}

/// Whatever a request to the REST API changed, it may have changed who may read what.
pub(crate) async fn forget_readers_after_changes(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let changes = !request.method().is_safe();
    let engine = request.app_data::<web::Data<Engine>>().cloned();
    let response = next.call(request).await;
    if let (Some(engine), true) = (engine, changes) {
        engine.forget_readers();
    }
    response
}

impl Describe for Pull {
    fn describe(description: &mut Description) {
        description.in_text();
        description.needs(Permission::Cache(CachePermission::ReadStore), Credentials::Optional, &[Code::NotFound]);
    }
}

/// Who reads a cache, and whether they may.
async fn reads(engine: &Engine, request: &HttpRequest, cache: &ServedCache, form: Form) -> Result<(Caller, Decision), Refusal> {
    // Whoever may read it without a key may do so with a bad one: clients send what they have for the host.
    if cache.public {
        return Ok((Caller::Anonymous, Decision::Granted));
    }
    let Some(reader) = reader(engine, request, form).await? else { return Ok((Caller::Anonymous, Decision::Anonymous)) };
    let decision = engine.decide_reader(cache, &reader).await.map_err(Refusal::failed(form))?;
    Ok((reader.caller, decision))
}

pub(super) async fn caller(engine: &Engine, request: &HttpRequest, form: Form) -> Result<Caller, Refusal> {
    Ok(reader(engine, request, form).await?.map_or(Caller::Anonymous, |reader| reader.caller))
}

/// Whom the request's credentials prove; nobody when there are none.
async fn reader(engine: &Engine, request: &HttpRequest, form: Form) -> Result<Option<Arc<Reader>>, Refusal> {
    let mut credentials = request.headers().get_all(header::AUTHORIZATION);
    let Some(value) = credentials.next() else { return Ok(None) };
    if credentials.next().is_some() {
        return Err(Refusal::unauthorized(form));
    }
    let credential = value.to_str().ok().and_then(credential).ok_or_else(|| Refusal::unauthorized(form))?;
    match engine.reader(credential.expose()).await {
        Ok(reader) => Ok(Some(reader)),
        Err(EngineError::Unauthorized) => Err(Refusal::unauthorized(form)),
        Err(error) => Err(Refusal::failed(form)(error)),
    }
}

/// The API key or JWT in an `Authorization` header: the password of `Basic`, whatever the user name, or the token of `Bearer`.
pub(crate) fn credential(authorization: &str) -> Option<Secret<String>> {
    let (scheme, rest) = authorization.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Secret::new(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| Secret::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_password_of_anybody() {
        let found = |text: &str| credential(text).map(Secret::into_inner);
        assert_eq!(found("Basic dXNlcjprZXk6eA==").as_deref(), Some("key:x"));
        assert_eq!(found("basic OmtleQ==").as_deref(), Some("key"));
        assert_eq!(found("Bearer key").as_deref(), Some("key"));
        for nothing in ["", "Basic", "Basic !", "Basic dXNlcg==", "Digest x", "Bearer"] {
            assert_eq!(found(nothing), None, "{nothing}");
        }
    }
}
