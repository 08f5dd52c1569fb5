//! `/auth/oauth/authorize`, `/auth/oidc/…`: sign-in at an OpenID provider. The browser goes there and comes back with a code.

use actix_web::{HttpRequest, HttpResponse, ResponseError, cookie::Cookie, http::header, web};
use gradient_domain::Secret;
use gradient_engine::{BegunSignIn, Engine, EngineError, Login, ProviderAnswer, Remember};
use serde::Deserialize;
use utoipa::IntoParams;

use super::cookies;
use crate::{
    ApiError,
    envelope::{Answer, Envelope},
};

/// Begins to sign in at the OpenID provider: answers the URL to go to.
///
/// For pages that send the browser there themselves.
#[utoipa::path(
    post,
    path = "/auth/oauth/authorize",
    responses((
        status = 200,
        description = "Where to go.",
        body = inline(Envelope<String>),
        headers(("Set-Cookie" = String, description = "Ties the sign-in to the browser, `oidc_csrf`; for 10 minutes.")),
        example = json!({"error": false, "message": "https://id.example.com/auth?response_type=code&client_id=gradient"}),
    ))
)]
pub(super) async fn authorize(engine: web::Data<Engine>) -> Result<HttpResponse, ApiError> {
    let begun = engine.begin_oidc().await?;
    with_sign_in(Answer(&begun.url).into_response(), &begun, &engine)
}

/// Begins to sign in at the OpenID provider: leads there.
///
/// For links. It sets the cookie `oidc_csrf`, which ties the sign-in to the browser for 10 minutes.
#[utoipa::path(get, path = "/auth/oidc/login", responses((status = 302, description = "To the provider.")))]
pub(super) async fn login(engine: web::Data<Engine>) -> Result<HttpResponse, ApiError> {
    let begun = engine.begin_oidc().await?;
    with_sign_in(found(&begun.url), &begun, &engine)
}

fn with_sign_in(mut response: HttpResponse, begun: &BegunSignIn, engine: &Engine) -> Result<HttpResponse, ApiError> {
    cookies::add(&mut response, &cookies::sign_in(begun, engine))?;
    Ok(response)
}

/// What the provider sends back: a code, or why there is none.
#[derive(Deserialize, IntoParams)]
pub(super) struct CallbackQuery {
    /// What the sign-in began with.
    #[serde(default)]
    #[param(required)]
    state: String,
    /// What the provider tells who it is for.
    #[param(value_type = Option<String>)]
    code: Option<Secret<String>>,
    /// Why it tells nothing, such as `access_denied`.
    error: Option<String>,
}

/// Ends a sign-in at the OpenID provider, and leads back to the pages of the server.
///
/// The provider sends the browser here. Who signs in for the first time gets an account; an email address that somebody else has
/// here is no way into that one's. It sets the session cookie, `jwt_token`, and takes `oidc_csrf` away, however it ends.
#[utoipa::path(get, path = "/auth/oidc/callback", responses((status = 302, description = "Back to the pages of the server.")))]
pub(super) async fn callback(
    request: HttpRequest,
    query: web::Query<CallbackQuery>,
    engine: web::Data<Engine>,
) -> Result<HttpResponse, ApiError> {
    let mut response = match finish(&request, query.into_inner(), &engine).await {
        Ok(login) => {
            let mut response = found(engine.settings().frontend_url.as_deref().unwrap_or("/"));
            cookies::add(&mut response, &cookies::session(&login, Remember::Day, &engine))?;
            response
        }
        Err(error) => error.error_response(),
    };
    cookies::add(&mut response, &cookies::no_sign_in())?;
    Ok(response)
}

async fn finish(request: &HttpRequest, query: CallbackQuery, engine: &Engine) -> Result<Login, ApiError> {
    if engine.settings().oidc.is_none() {
        return Err(EngineError::OauthDisabled.into());
    }
    let outcome = match (query.code, query.error) {
        (_, Some(error)) => Err(error),
        (Some(code), None) => Ok(code),
        (None, None) => return Err(ApiError::bad_request("the query has neither `code` nor `error`")),
    };
    let kept = request.cookie(cookies::SIGN_IN);
    let answer = ProviderAnswer { state: query.state, outcome };
    Ok(engine.finish_oidc(kept.as_ref().map(Cookie::value), answer).await?)
}

fn found(url: &str) -> HttpResponse {
    HttpResponse::Found().insert_header((header::LOCATION, url)).finish()
}
