//! The cookies: of a session, and of a sign-in that waits for the provider.

use actix_web::{
    HttpResponse,
    cookie::{Cookie, SameSite, time},
    http::header,
};
use gradient_engine::{BegunSignIn, Engine, Login, Remember};

use crate::{ApiError, error::Code, scope::COOKIE};

/// The cookie that ties the provider's answer to the browser that asked for it.
pub(super) const SIGN_IN: &str = "oidc_csrf";

/// Where the browser sends it, and nowhere else.
const SIGN_IN_PATH: &str = "/api/v1/auth";

/// The session's own. Without `remember_me` it ends with the browser.
pub(super) fn session(login: &Login, remember: Remember, engine: &Engine) -> Cookie<'static> {
    let cookie = Cookie::build(COOKIE, login.token.expose().clone())
        .http_only(true)
        .same_site(SameSite::Strict)
        .path("/")
        .secure(is_secure(engine));
    match remember {
        Remember::Day => cookie.finish(),
        Remember::Month => cookie.max_age(seconds(login.lifetime)).finish(),
    }
}

/// Takes the session's away.
pub(super) fn no_session() -> Cookie<'static> {
    let mut cookie = Cookie::build(COOKIE, "").http_only(true).same_site(SameSite::Strict).path("/").finish();
    cookie.make_removal();
    cookie
}

/// What the browser keeps while its user is at the provider. `Lax`, for it comes back from another site.
pub(super) fn sign_in(begun: &BegunSignIn, engine: &Engine) -> Cookie<'static> {
    Cookie::build(SIGN_IN, begun.kept.expose().clone())
        .http_only(true)
        .same_site(SameSite::Lax)
        .path(SIGN_IN_PATH)
        .secure(is_secure(engine))
        .max_age(seconds(begun.lifetime))
        .finish()
}

/// Takes that away.
pub(super) fn no_sign_in() -> Cookie<'static> {
    let mut cookie = Cookie::build(SIGN_IN, "").http_only(true).same_site(SameSite::Lax).path(SIGN_IN_PATH).finish();
    cookie.make_removal();
    cookie
}

/// Adds a cookie to an answer that nobody may keep.
pub(super) fn add(response: &mut HttpResponse, cookie: &Cookie<'_>) -> Result<(), ApiError> {
    response.add_cookie(cookie).map_err(|_| ApiError::new(Code::Internal, "internal server error"))?;
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(())
}

fn is_secure(engine: &Engine) -> bool {
    engine.settings().serve_url.starts_with("https://")
}

fn seconds(duration: std::time::Duration) -> time::Duration {
    time::Duration::seconds(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
}
