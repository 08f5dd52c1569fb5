//! `/user`: one's own account.

use actix_web::web;
use gradient_domain::{DisplayName, Email, Password, Secret, UserId, Username};
use gradient_engine::{Engine, User, UserChanges};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::optional;
use crate::{
    ApiError,
    body::Body,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Sentence},
    scope::{SessionUser, SignedIn},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { User:
        show;
        delete => Conflict;
        change_password => InvalidPassword;
        settings;
        change_settings => AlreadyExists, InvalidEmail, InvalidName, InvalidUsername;
    }
}

/// A user.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
struct UserBody {
    id: UserId,
    username: Username,
    name: DisplayName,
    email: Email,
    superuser: bool,
}

/// Shows the caller.
#[utoipa::path(get, path = "/user")]
async fn show(user: SignedIn, engine: web::Data<Engine>) -> Result<Answer<UserBody>, ApiError> {
    let User { id, username, name, email, superuser, .. } = engine.user(user.user.user).await?;
    Ok(Answer(UserBody { id, username, name, email, superuser }))
}

/// The proof that it is really meant.
#[derive(Deserialize, ToSchema)]
#[schema(as = AccountDeletion)]
struct DeleteBody {
    #[schema(value_type = String, format = Password, example = "Correct-Horse-7")]
    password: Secret<String>,
}

/// Deletes the caller's account.
///
/// Not while the caller is the last Admin of an organization or cache; the message names them.
#[utoipa::path(delete, path = "/user")]
async fn delete(user: SessionUser, body: Body<DeleteBody>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    engine.delete_user(user.user.user, body.read()?.password).await?;
    Ok(Answer(Sentence("your account is deleted".to_owned())))
}

/// The old and the new password.
#[derive(Deserialize, ToSchema)]
#[schema(as = PasswordChange)]
struct PasswordBody {
    #[schema(value_type = String, format = Password, example = "Correct-Horse-7")]
    old_password: Secret<String>,
    #[schema(value_type = Password)]
    new_password: Secret<String>,
}

/// Changes the caller's password, and ends all other sessions.
#[utoipa::path(patch, path = "/user/password")]
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

/// What a user can change of the account.
#[derive(Serialize, ToSchema)]
#[schema(as = UserSettings)]
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

/// Shows the caller's settings.
#[utoipa::path(get, path = "/user/settings")]
async fn settings(user: SignedIn, engine: web::Data<Engine>) -> Result<Answer<SettingsBody>, ApiError> {
    Ok(Answer(engine.user(user.user.user).await?.into()))
}

/// What to change of the account.
#[derive(Deserialize, ToSchema)]
#[schema(as = UserSettingsChanges)]
struct ChangeBody {
    #[schema(value_type = Option<Username>)]
    username: Option<String>,
    #[schema(value_type = Option<DisplayName>)]
    name: Option<String>,
    #[schema(value_type = Option<Email>)]
    email: Option<String>,
}

/// Changes the caller's settings.
///
/// What is left out stays as it is.
#[utoipa::path(patch, path = "/user/settings")]
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
