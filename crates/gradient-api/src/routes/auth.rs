//! `/auth`: registration, login, logout; proof of addresses and sign-in at a provider in the modules below.

mod cookies;
mod email;
mod oidc;

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use gradient_domain::{DisplayName, Email, Password, Secret, Username};
use gradient_engine::{Engine, Origin, Registered, Registration, Remember};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::sought;
use crate::{
    ApiError,
    body::Body,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Envelope, Sentence},
    error::Code,
    scope::AnySession,
};

/// The header with the token that the server prints while it has no users.
const SETUP_TOKEN: &str = "x-gradient-setup";

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Authentication:
        register => AlreadyExists, Forbidden, InvalidEmail, InvalidName, InvalidPassword, InvalidUsername, RegistrationDisabled;
        login => EmailUnverified, InvalidCredentials, OauthRequired, Unavailable;
        check_username;
        email::verify => AlreadyExists, BadRequest;
        email::resend => BadRequest, Unavailable;
        oidc::authorize => OauthDisabled, Unavailable;
        oidc::login => OauthDisabled, Unavailable;
        oidc::callback => AlreadyExists, BadRequest, EmailUnverified, InvalidEmail, OauthDisabled, Unauthorized, Unavailable;
        logout;
    }
}

/// Who is to be registered.
#[derive(Deserialize, ToSchema)]
#[schema(as = Registration)]
struct RegisterBody {
    #[schema(value_type = Username)]
    username: String,
    #[schema(value_type = DisplayName)]
    name: String,
    #[schema(value_type = Email)]
    email: String,
    #[schema(value_type = Password)]
    password: Secret<String>,
}

/// Registers a user.
///
/// The first one becomes a superuser, when the request comes from the server's own machine or has the token in
/// `x-gradient-setup` that the server printed at its first start. Where addresses have to be verified, everybody else opens the
/// link in a mail before they can sign in.
#[utoipa::path(post, path = "/auth/basic/register")]
async fn register(
    request: HttpRequest,
    body: Body<RegisterBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let body = body.read()?;
    let origin = match request.headers().get(SETUP_TOKEN) {
        Some(token) if engine.is_setup_token(token.as_bytes()) => Origin::Setup,
        // Not simply nobody's: the first user would be an ordinary one, and there is only one first user.
        Some(_) => {
            return Err(ApiError::new(Code::Forbidden, "this is not the setup token that the server printed at its start"));
        }
        None => origin(&request),
    };
    let registration = Registration {
        username: body.username.parse()?,
        name: body.name.parse()?,
        email: body.email.parse()?,
        password: body.password.expose().parse::<Password>()?,
        origin,
    };
    let username = registration.username.clone();
    let Registered { id, unverified } = engine.register(registration).await?;
    let next = if unverified { "; open the link in the mail that is on its way to you before you sign in" } else { "" };
    Ok(Answer(Sentence(format!("user `{username}` is registered with the id {id}{next}"))))
}

/// A request that a proxy passed on says so, and is then from elsewhere.
fn origin(request: &HttpRequest) -> Origin {
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| request.headers().contains_key(*name));
    let loopback = request.peer_addr().is_some_and(|address| match address.ip() {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.to_canonical().is_loopback(),
    });
    if loopback && !forwarded && !is_from_a_foreign_page(request) { Origin::Loopback } else { Origin::Elsewhere }
}

/// A page of another site that is open on this machine could register somebody without anyone seeing it: it needs no answer.
fn is_from_a_foreign_page(request: &HttpRequest) -> bool {
    match request.headers().get("sec-fetch-site") {
        Some(site) => site != "same-origin" && site != "none",
        None => request.headers().contains_key(header::ORIGIN),
    }
}

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[schema(as = Login)]
struct LoginBody {
    /// A username or an email address.
    #[schema(example = "alice")]
    loginname: String,
    #[schema(value_type = String, format = Password, example = "Correct-Horse-7")]
    password: Secret<String>,
    /// For 30 days instead of one.
    #[serde(default)]
    remember_me: bool,
}

/// Signs in: answers a JWT, and sets it as a cookie.
///
/// It is good for a day, or for 30 days with `remember_me`.
#[utoipa::path(
    post,
    path = "/auth/basic/login",
    responses((
        status = 200,
        description = "Signed in.",
        body = inline(Envelope<String>),
        headers(("Set-Cookie" = String, description = "The session cookie, `jwt_token`.")),
        example = json!({"error": false, "message": "eyJhbGciOiJIUzI1NiJ9.eyJqdGkiOiIwMTkxZTBhMCJ9.c2lnbmF0dXJl"}),
    ))
)]
async fn login(body: Body<LoginBody>, engine: web::Data<Engine>) -> Result<HttpResponse, ApiError> {
    let LoginBody { loginname, password, remember_me } = body.read()?;
    let remember = if remember_me { Remember::Month } else { Remember::Day };
    let login = engine.login(sought(&loginname), password, remember).await?;
    let mut response = Answer(login.token.expose()).into_response();
    cookies::add(&mut response, &cookies::session(&login, remember, &engine))?;
    Ok(response)
}

/// A username.
#[derive(Deserialize, ToSchema)]
#[schema(as = UsernameQuestion)]
struct UsernameBody {
    #[schema(example = "alice")]
    username: String,
}

/// Whether a username can be had.
#[derive(Serialize, ToSchema)]
struct UsernameAnswer {
    /// Whether it cannot.
    error: bool,
    /// Why it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<&'static str>,
    message: String,
}

/// Tells whether a username can be had.
///
/// The status is 200 either way: `error` says that it cannot.
#[utoipa::path(post, path = "/auth/check-username")]
async fn check_username(body: Body<UsernameBody>, engine: web::Data<Engine>) -> Result<web::Json<UsernameAnswer>, ApiError> {
    let body = body.read()?;
    let name: Username = match body.username.parse() {
        Ok(name) => name,
        Err(error) => return Ok(web::Json(UsernameAnswer::taken(&ApiError::from(error)))),
    };
    Ok(web::Json(if engine.is_username_free(name.clone()).await? {
        UsernameAnswer { error: false, code: None, message: format!("the username `{name}` is free") }
    } else {
        UsernameAnswer::taken(&ApiError::new(Code::AlreadyExists, format!("the username `{name}` is taken")))
    }))
}

impl UsernameAnswer {
    fn taken(why: &ApiError) -> Self {
        Self { error: true, code: Some(why.code().slug()), message: why.to_string() }
    }
}

/// Signs out: ends the session and clears the cookie.
#[utoipa::path(
    post,
    path = "/auth/logout",
    responses((
        status = 200,
        description = "Signed out.",
        body = inline(Envelope<String>),
        headers(("Set-Cookie" = String, description = "Removes the session cookie.")),
        example = json!({"error": false, "message": "you are signed out"}),
    ))
)]
async fn logout(AnySession(session): AnySession, engine: web::Data<Engine>) -> Result<HttpResponse, ApiError> {
    let done = match session {
        Some(session) => {
            engine.logout(session).await?;
            "you are signed out"
        }
        None => "there is no session to end",
    };
    let mut response = Answer(done).into_response();
    cookies::add(&mut response, &cookies::no_session())?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn from_this_machine(headers: &[(&'static str, &'static str)]) -> Origin {
        let request = TestRequest::post().peer_addr(([127, 0, 0, 1], 4711).into());
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        origin(&request.to_http_request())
    }

    #[test]
    fn who_asks_from_this_machine_runs_the_server() {
        assert_eq!(from_this_machine(&[]), Origin::Loopback);
        assert_eq!(
            from_this_machine(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:3000")]),
            Origin::Loopback
        );
        assert_eq!(from_this_machine(&[("x-forwarded-for", "192.0.2.1")]), Origin::Elsewhere);
    }

    #[test]
    fn a_page_of_another_site_does_not() {
        assert_eq!(from_this_machine(&[("sec-fetch-site", "cross-site")]), Origin::Elsewhere);
        assert_eq!(from_this_machine(&[("sec-fetch-site", "same-site")]), Origin::Elsewhere);
        assert_eq!(from_this_machine(&[("origin", "https://example.com")]), Origin::Elsewhere);
    }
}
