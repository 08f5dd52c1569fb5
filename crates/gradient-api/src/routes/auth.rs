//! `/auth`: registration, login, logout.

use std::net::IpAddr;

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time},
    http::{Method, header},
    web,
};
use gradient_domain::{Password, Secret, Username};
use gradient_engine::{Engine, Login, Origin, Registration, Remember};
use serde::Deserialize;

use super::{fields::sought, resource};
use crate::{
    ApiError,
    body::Body,
    envelope::{self, Answer, Sentence},
    error::Code,
    scope::{COOKIE, SignedIn},
};

/// The header with the token that the server prints while it has no users.
const SETUP_TOKEN: &str = "x-gradient-setup";

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/auth/basic/register", [(Method::POST, web::to(register))]))
        .service(resource("/auth/basic/login", [(Method::POST, web::to(login))]))
        .service(resource("/auth/check-username", [(Method::POST, web::to(check_username))]))
        .service(resource("/auth/verify-email", [(Method::GET, web::to(verification_is_off))]))
        .service(resource("/auth/resend-verification", [(Method::POST, web::to(verification_is_off))]))
        .service(resource("/auth/oauth/authorize", [(Method::POST, web::to(oauth_is_off))]))
        .service(resource("/auth/oidc/login", [(Method::GET, web::to(oauth_is_off))]))
        .service(resource("/auth/oidc/callback", [(Method::GET, web::to(oauth_is_off))]))
        .service(resource("/auth/logout", [(Method::POST, web::to(logout))]));
}

#[derive(Deserialize)]
struct RegisterBody {
    username: String,
    name: String,
    email: String,
    password: Secret<String>,
}

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
    let id = engine.register(registration).await?;
    Ok(Answer(Sentence(format!("user `{username}` is registered with the id {id}"))))
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

#[derive(Deserialize)]
struct LoginBody {
    loginname: String,
    password: Secret<String>,
    #[serde(default)]
    remember_me: bool,
}

async fn login(body: Body<LoginBody>, engine: web::Data<Engine>) -> Result<HttpResponse, ApiError> {
    let LoginBody { loginname, password, remember_me } = body.read()?;
    let remember = if remember_me { Remember::Month } else { Remember::Day };
    let login = engine.login(sought(&loginname), password, remember).await?;
    let mut response = Answer(login.token.expose()).into_response();
    set_cookie(&mut response, &session_cookie(&login, remember, &engine))?;
    Ok(response)
}

fn session_cookie(login: &Login, remember: Remember, engine: &Engine) -> Cookie<'static> {
    let cookie = Cookie::build(COOKIE, login.token.expose().clone())
        .http_only(true)
        .same_site(SameSite::Strict)
        .path("/")
        .secure(engine.settings().serve_url.starts_with("https://"));
    match remember {
        Remember::Day => cookie.finish(),
        Remember::Month => {
            let seconds = i64::try_from(login.lifetime.as_secs()).unwrap_or(i64::MAX);
            cookie.max_age(time::Duration::seconds(seconds)).finish()
        }
    }
}

fn set_cookie(response: &mut HttpResponse, cookie: &Cookie<'_>) -> Result<(), ApiError> {
    response.add_cookie(cookie).map_err(|_| ApiError::new(Code::Internal, "internal server error"))?;
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(())
}

#[derive(Deserialize)]
struct UsernameBody {
    username: String,
}

/// Always a 200: `error` says whether the name can be had.
async fn check_username(body: Body<UsernameBody>, engine: web::Data<Engine>) -> Result<HttpResponse, ApiError> {
    let body = body.read()?;
    let name: Username = match body.username.parse() {
        Ok(name) => name,
        Err(error) => return Ok(taken(&ApiError::from(error))),
    };
    if engine.is_username_free(name.clone()).await? {
        Ok(Answer(format!("the username `{name}` is free")).into_response())
    } else {
        Ok(taken(&ApiError::new(Code::AlreadyExists, format!("the username `{name}` is taken"))))
    }
}

fn taken(why: &ApiError) -> HttpResponse {
    HttpResponse::Ok().json(envelope::error(why.code().slug(), &why.to_string()))
}

/// Whoever has no session any more is signed out as well, and loses the cookie.
async fn logout(user: Result<SignedIn, ApiError>, engine: web::Data<Engine>) -> Result<HttpResponse, ApiError> {
    match user {
        Ok(user) => {
            if let Some(session) = user.user.session() {
                engine.logout(session).await?;
            }
        }
        Err(error) if error.code() == Code::Unauthorized => {}
        Err(error) => return Err(error),
    }
    let mut response = Answer("you are signed out").into_response();
    let mut cookie = Cookie::build(COOKIE, "").http_only(true).same_site(SameSite::Strict).path("/").finish();
    cookie.make_removal();
    set_cookie(&mut response, &cookie)?;
    Ok(response)
}

async fn verification_is_off() -> Result<HttpResponse, ApiError> {
    Err(ApiError::bad_request("this server does not verify email addresses"))
}

async fn oauth_is_off() -> Result<HttpResponse, ApiError> {
    Err(ApiError::new(Code::OauthDisabled, "this server has no OIDC provider"))
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
