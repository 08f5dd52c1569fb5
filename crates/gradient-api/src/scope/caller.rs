//! Who asks: from the `Authorization` header or the session cookie to a [`Caller`].

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::{Method, header},
};
use gradient_auth::{Authenticated, Caller, Pin, Via};
use gradient_domain::SessionId;
use gradient_engine::Engine;

use super::{Extracting, engine};
use crate::{
    ApiError,
    error::Code,
    openapi::{Credentials, Describe, Description, Permission},
    rate_limit::KnownCaller,
};

/// The cookie that holds a session's JWT.
pub(crate) const COOKIE: &str = "jwt_token";

/// Somebody who is signed in, by a session or an API key.
pub(crate) struct SignedIn {
    pub(crate) user: Authenticated,
    pub(crate) caller: Caller,
}

/// Somebody who is signed in by a session; API keys are refused.
pub(crate) struct SessionUser {
    pub(crate) user: Authenticated,
    pub(crate) session: SessionId,
}

/// Somebody who is signed in, also by a key that is good for one cache only.
pub(crate) struct Identified(pub(crate) Caller);

/// Somebody who may see what the whole server does: a superuser, or anybody signed in when the server is set so.
pub(crate) struct MaySeeStatistics;

/// The session of whoever asks, when there still is one.
pub(crate) struct AnySession(pub(crate) Option<SessionId>);

/// The caller of a request. The header wins over the cookie.
pub(super) async fn of(request: &HttpRequest) -> Result<Caller, ApiError> {
    let engine = engine(request)?;
    let mut credentials = request.headers().get_all(header::AUTHORIZATION);
    if let Some(value) = credentials.next() {
        // Whatever stands before the server might have looked at another one.
        if credentials.next().is_some() {
            return Err(ApiError::unauthorized());
        }
        let parts = value.to_str().ok().and_then(|value| value.split_once(' '));
        let bearer = parts.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).ok_or_else(ApiError::unauthorized)?.1;
        return known_or_found(request, &engine, bearer.trim()).await;
    }
    match request.cookie(COOKIE) {
        Some(cookie) => {
            let caller = known_or_found(request, &engine, cookie.value()).await?;
            check_origin(request, &engine)?;
            Ok(caller)
        }
        None => Ok(Caller::Anonymous),
    }
}

/// Whom the same credential was found to be of before the route was, for the rate limits, or else finds it.
async fn known_or_found(request: &HttpRequest, engine: &Engine, token: &str) -> Result<Caller, ApiError> {
    let known = request.extensions().get::<KnownCaller>().copied();
    match known {
        Some(KnownCaller(caller)) => Ok(caller),
        None => Ok(engine.caller(token).await?),
    }
}

/// A cookie is sent by the browser whoever wrote the page, so what changes something has to come from our own pages.
fn check_origin(request: &HttpRequest, engine: &Engine) -> Result<(), ApiError> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let is =
        |name: &str, expected: &str| request.headers().get(name).is_some_and(|value| value.as_bytes() == expected.as_bytes());
    if is("sec-fetch-site", "same-origin") || is("origin", origin(&engine.settings().serve_url)) {
        Ok(())
    } else {
        Err(ApiError::new(Code::Forbidden, "a request with the session cookie has to come from the server's own pages"))
    }
}

/// Whether a page of another site had the browser send this, as far as the browser says. Its answer need not be read to do harm.
pub(crate) fn is_from_a_foreign_page(request: &HttpRequest, serve_url: &str) -> bool {
    let (site, page) = (request.headers().get("sec-fetch-site"), request.headers().get(header::ORIGIN));
    match (site, page) {
        (_, Some(page)) if page.as_bytes() == origin(serve_url).as_bytes() => false,
        (Some(site), _) => site != "same-origin" && site != "none",
        (None, page) => page.is_some(),
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at);
    url.get(..end).unwrap_or(url)
}

async fn signed_in(request: &HttpRequest) -> Result<(Authenticated, Caller), ApiError> {
    match of(request).await? {
        Caller::Anonymous => Err(ApiError::unauthorized()),
        Caller::User(Authenticated { via: Via::ApiKey(key), .. }) if matches!(key.pin, Pin::Cache(_)) => {
            Err(ApiError::new(Code::Forbidden, "this API key is good for its cache only"))
        }
        caller @ Caller::User(user) => Ok((user, caller)),
    }
}

impl FromRequest for SignedIn {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (user, caller) = signed_in(&request).await?;
            Ok(Self { user, caller })
        })
    }
}

impl FromRequest for SessionUser {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (user, _) = signed_in(&request).await?;
            let session =
                user.session().ok_or_else(|| ApiError::new(Code::Forbidden, "this needs a session; an API key is not enough"))?;
            Ok(Self { user, session })
        })
    }
}

impl FromRequest for Identified {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            match of(&request).await? {
                Caller::Anonymous => Err(ApiError::unauthorized()),
                caller @ Caller::User(_) => Ok(Self(caller)),
            }
        })
    }
}

impl FromRequest for MaySeeStatistics {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (user, _) = signed_in(&request).await?;
            if user.superuser || engine(&request)?.settings().global_stats_public {
                Ok(Self)
            } else {
                Err(ApiError::new(Code::SuperuserRequired, "this needs a superuser"))
            }
        })
    }
}

impl FromRequest for AnySession {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            match signed_in(&request).await {
                Ok((user, _)) => Ok(Self(user.session())),
                Err(error) if error.code() == Code::Unauthorized => Ok(Self(None)),
                Err(error) => Err(error),
            }
        })
    }
}

impl Describe for Identified {
    fn describe(description: &mut Description) {
        description.needs(Permission::SignedIn, Credentials::Required, &[]);
    }
}

impl Describe for MaySeeStatistics {
    fn describe(description: &mut Description) {
        description.needs(Permission::Superuser, Credentials::Required, &[Code::Forbidden, Code::SuperuserRequired]);
    }
}

impl Describe for AnySession {
    fn describe(description: &mut Description) {
        description.needs(Permission::None, Credentials::Optional, &[]);
    }
}

impl Describe for SignedIn {
    fn describe(description: &mut Description) {
        description.needs(Permission::SignedIn, Credentials::Required, &[Code::Forbidden]);
    }
}

impl Describe for SessionUser {
    fn describe(description: &mut Description) {
        description.needs(Permission::Session, Credentials::Required, &[Code::Forbidden]);
    }
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn an_origin_has_no_path() {
        assert_eq!(origin("https://gradient.example.com:8443/ci"), "https://gradient.example.com:8443");
        assert_eq!(origin("http://127.0.0.1:3000"), "http://127.0.0.1:3000");
    }
}
