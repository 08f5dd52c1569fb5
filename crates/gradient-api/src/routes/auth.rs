//! `/auth`: registration, login, logout; proof of addresses and sign-in at a provider in the modules below.

mod cookies;
mod email;
mod oidc;

use std::net::IpAddr;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Uri, header, uri::Authority},
    web,
};
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
    scope::{AnySession, is_from_a_foreign_page},
};

/// The header with the token that the server prints while it has no users.
const SETUP_TOKEN: &str = "x-gradient-setup";

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Authentication:
        register => AlreadyExists, Forbidden, InvalidEmail, InvalidName, InvalidPassword, InvalidUsername, RegistrationDisabled;
        login => EmailUnverified, Forbidden, InvalidCredentials, OauthRequired, Unavailable;
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
        None => origin(&request, &engine.settings().serve_url),
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

/// A request that a proxy passed on says so, and is then from elsewhere. So is one that a page of another site had a browser on this
/// machine send: it could register somebody without anyone seeing it.
fn origin(request: &HttpRequest, serve_url: &str) -> Origin {
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| request.headers().contains_key(*name));
    let loopback = request.peer_addr().is_some_and(|address| match address.ip() {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.to_canonical().is_loopback(),
    });
    let own = !is_from_a_foreign_page(request, serve_url) && is_for_this_server(request, serve_url);
    if loopback && !forwarded && own { Origin::Loopback } else { Origin::Elsewhere }
}

/// Whether a request names this machine or the server as its host. Another name that leads here can be one that a page of its own gave
/// this machine's address, so that the browser takes the two for one site.
fn is_for_this_server(request: &HttpRequest, serve_url: &str) -> bool {
    let Some(host) = request.headers().get(header::HOST) else { return true };
    let Some(host) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = host.host();
    let served = serve_url.parse::<Uri>().ok();
    let served = served.as_ref().and_then(Uri::host);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
        || served.is_some_and(|served| served.eq_ignore_ascii_case(name))
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
/// It is good for a day, or for 30 days with `remember_me`. A page of another site cannot have a browser sign in: that is a 403.
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
async fn login(request: HttpRequest, body: Body<LoginBody>, engine: web::Data<Engine>) -> Result<HttpResponse, ApiError> {
    // Whoever is signed in as somebody else without noticing gives that account what they upload and write.
    if is_from_a_foreign_page(&request, &engine.settings().serve_url) {
        return Err(ApiError::new(Code::Forbidden, "a browser can sign in from the server's own pages only"));
    }
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
        origin(&request.to_http_request(), "https://ci.example.com/gradient")
    }

    #[test]
    fn who_asks_from_this_machine_runs_the_server() {
        assert_eq!(from_this_machine(&[]), Origin::Loopback);
        assert_eq!(
            from_this_machine(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:3000")]),
            Origin::Loopback
        );
        assert_eq!(from_this_machine(&[("origin", "https://ci.example.com")]), Origin::Loopback);
        assert_eq!(from_this_machine(&[("x-forwarded-for", "192.0.2.1")]), Origin::Elsewhere);
    }

    #[test]
    fn a_page_of_another_site_does_not() {
        assert_eq!(from_this_machine(&[("sec-fetch-site", "cross-site")]), Origin::Elsewhere);
        assert_eq!(from_this_machine(&[("sec-fetch-site", "same-site")]), Origin::Elsewhere);
        assert_eq!(from_this_machine(&[("origin", "https://example.com")]), Origin::Elsewhere);
    }

    #[test]
    fn a_page_that_calls_this_machine_its_own_host_does_not() {
        let with_host = |host| from_this_machine(&[("host", host), ("sec-fetch-site", "same-origin")]);
        for host in
            ["localhost:3000", "127.0.0.1:3000", "127.1.2.3", "[::1]:3000", "[::1]", "ci.example.com", "CI.example.com:443"]
        {
            assert_eq!(with_host(host), Origin::Loopback, "{host}");
        }
        for host in ["evil.example:3000", "localhost.evil.example", "192.0.2.1:3000", "[2001:db8::1]:3000", "", "a b"] {
            assert_eq!(with_host(host), Origin::Elsewhere, "{host}");
        }
    }
}
