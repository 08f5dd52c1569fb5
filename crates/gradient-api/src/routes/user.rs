//! `/user`: one's own account.

use actix_web::web;
use gradient_domain::{DisplayName, Email, Password, Secret, UserId, Username};
use gradient_engine::{Confirmation, Engine, User, UserChanges};
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
        change_settings => AlreadyExists, Conflict, InvalidEmail, InvalidName, InvalidUsername;
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

/// The proof that it is really meant: the password, or for those who have none here the username.
#[derive(Deserialize, ToSchema)]
#[schema(as = AccountDeletion)]
struct DeleteBody {
    #[schema(value_type = Option<String>, format = Password, example = "Correct-Horse-7")]
    password: Option<Secret<String>>,
    #[schema(example = "alice")]
    confirm_username: Option<String>,
}

/// Deletes the caller's account.
///
/// Not while the caller is the last Admin of an organization or cache; the message names them. This and changing the password are
/// limited as signing in is, for each user.
#[utoipa::path(delete, path = "/user")]
async fn delete(user: SessionUser, body: Body<DeleteBody>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    let confirmation = match body.read()? {
        DeleteBody { password: Some(password), .. } => Confirmation::Password(password),
        DeleteBody { confirm_username: Some(username), .. } => Confirmation::Username(username),
        DeleteBody { .. } => {
            let expected = "confirm it with `password`, or with `confirm_username` if you have no password here";
            return Err(ApiError::bad_request(expected));
        }
    };
    engine.delete_user(user.user.user, confirmation).await?;
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
///
/// This and deleting the account are limited as signing in is, for each user.
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
    /// The address that takes its place once it is verified.
    pending_email: Option<Email>,
    /// Whether the user signs in at the OpenID provider, and has no password here.
    is_oidc: bool,
}

/// Shows the caller's settings.
#[utoipa::path(get, path = "/user/settings")]
async fn settings(user: SignedIn, engine: web::Data<Engine>) -> Result<Answer<SettingsBody>, ApiError> {
    let user = engine.user(user.user.user).await?;
    settings_of(user, &engine).await
}

async fn settings_of(user: User, engine: &Engine) -> Result<Answer<SettingsBody>, ApiError> {
    let pending_email = engine.pending_email(&user).await?;
    let is_oidc = user.password_hash.is_none();
    Ok(Answer(SettingsBody { username: user.username, name: user.name, email: user.email, pending_email, is_oidc }))
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
/// What is left out stays as it is. Where addresses have to be verified, a new one gets a mail, and takes the place of the old
/// one once its link is opened; a second mail within a minute is a conflict.
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
        ..UserChanges::default()
    };
    let user = engine.change_user(user.user.user, changes).await?;
    settings_of(user, &engine).await
}
