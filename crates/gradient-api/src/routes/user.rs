//! `/user`: one's own account.

use actix_web::{http::Method, web};
use gradient_domain::{DisplayName, Email, Secret, UserId, Username};
use gradient_engine::{Engine, User, UserChanges};
use serde::{Deserialize, Serialize};

use super::{fields::optional, resource};
use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Sentence},
    scope::{SessionUser, SignedIn},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/user", [(Method::GET, web::to(show)), (Method::DELETE, web::to(delete))]))
        .service(resource("/user/password", [(Method::PATCH, web::to(change_password))]))
        .service(resource("/user/settings", [(Method::GET, web::to(settings)), (Method::PATCH, web::to(change_settings))]));
}

#[derive(Serialize)]
struct UserBody {
    id: UserId,
    username: Username,
    name: DisplayName,
    email: Email,
    superuser: bool,
}

async fn show(user: SignedIn, engine: web::Data<Engine>) -> Result<Answer<UserBody>, ApiError> {
    let User { id, username, name, email, superuser, .. } = engine.user(user.user.user).await?;
    Ok(Answer(UserBody { id, username, name, email, superuser }))
}

#[derive(Deserialize)]
struct DeleteBody {
    password: Secret<String>,
}

async fn delete(user: SessionUser, body: Body<DeleteBody>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    engine.delete_user(user.user.user, body.read()?.password).await?;
    Ok(Answer(Sentence("your account is deleted".to_owned())))
}

#[derive(Deserialize)]
struct PasswordBody {
    old_password: Secret<String>,
    new_password: Secret<String>,
}

async fn change_password(
    user: SessionUser,
    body: Body<PasswordBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let PasswordBody { old_password, new_password } = body.read()?;
    let new = new_password.expose().parse()?;
    engine.change_password(user.user.user, user.session, old_password, new).await?;
    Ok(Answer(Sentence("your password is changed, and your other sessions are ended".to_owned())))
}

#[derive(Serialize)]
struct SettingsBody {
    username: Username,
    name: DisplayName,
    email: Email,
    is_oidc: bool,
}

impl From<User> for SettingsBody {
    fn from(user: User) -> Self {
        Self { username: user.username, name: user.name, email: user.email, is_oidc: user.password_hash.is_none() }
    }
}

async fn settings(user: SignedIn, engine: web::Data<Engine>) -> Result<Answer<SettingsBody>, ApiError> {
    Ok(Answer(engine.user(user.user.user).await?.into()))
}

#[derive(Deserialize)]
struct ChangeBody {
    username: Option<String>,
    name: Option<String>,
    email: Option<String>,
}

async fn change_settings(
    user: SessionUser,
    body: Body<ChangeBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<SettingsBody>, ApiError> {
    let body = body.read()?;
    let changes = UserChanges {
        username: optional(body.username.as_ref())?,
        name: optional(body.name.as_ref())?,
        email: optional(body.email.as_ref())?,
        superuser: None,
    };
    Ok(Answer(engine.change_user(user.user.user, changes).await?.into()))
}
