//! Who people are: registration, login, and one's own account.

mod bearer;
mod oidc;
mod setup;
mod verification;

use std::time::Duration;

use gradient_auth::PasswordHash;
use gradient_domain::{DisplayName, Email, Moment, Password, Secret, SessionId, UserId, Username};
use gradient_storage::{
    Conn,
    sessions::{self, Session},
    users,
};

use crate::{Engine, EngineError};

pub use oidc::BegunSignIn;
pub(crate) use oidc::ProviderSlot;
pub(crate) use setup::SetupToken;

pub use gradient_storage::users::{User, UserChanges};

/// How long a session lasts.
const SESSION: Duration = Duration::from_hours(24);
/// How long one lasts whose user asked to be remembered.
const REMEMBERED_SESSION: Duration = Duration::from_hours(24 * 30);

/// Somebody who registers.
#[derive(Debug)]
pub struct Registration {
    /// The login name.
    pub username: Username,
    /// What others read.
    pub name: DisplayName,
    /// The address.
    pub email: Email,
    /// The password.
    pub password: Password,
    /// Where the request comes from.
    pub origin: Origin,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This machine, straight: whoever can do that runs the server. As the first user they become its superuser.
    Loopback,
    /// Anywhere, with the setup token. That proves the same.
    Setup,
    /// Anywhere else.
    Elsewhere,
}

/// A user who is registered.
#[derive(Debug, Clone, Copy)]
pub struct Registered {
    /// The new user.
    pub id: UserId,
    /// Whether the address has to be proven before the user can sign in.
    pub unverified: bool,
}

/// How somebody confirms that the account is theirs to delete.
#[derive(Debug)]
pub enum Confirmation {
    /// By the password.
    Password(Secret<String>),
    /// By the username, for those who have no password here.
    Username(String),
}

/// How long to stay signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// A day.
    Day,
    /// Thirty days.
    Month,
}

/// A successful login.
#[derive(Debug)]
pub struct Login {
    /// The JWT.
    pub token: Secret<String>,
    /// How long it is good for.
    pub lifetime: Duration,
}

impl Engine {
    /// Whether anybody may register with a password.
    pub fn may_register(&self) -> bool {
        self.settings().enable_registration && !self.settings().oidc_required
    }

    /// Registers a user. The first one becomes superuser when the request comes from this machine or with the setup token; whoever
    /// runs the server need not prove the address, for the mail may be what does not work yet.
    pub async fn register(&self, registration: Registration) -> Result<Registered, EngineError> {
        if !self.may_register() {
            return Err(EngineError::RegistrationDisabled);
        }
        let Registration { username, name, email, password, origin } = registration;
        let hash = self.passwords().hash(password.into_secret(), &mut rand::rng()).await?;
        let user = User {
            id: UserId::new(),
            username,
            name,
            email,
            password_hash: Some(hash.as_str().to_owned()),
            superuser: false,
            created_at: Moment::now(),
            email_verified: !self.verifies_email(),
        };
        let insert = async move |conn: &mut Conn| {
            let superuser = origin != Origin::Elsewhere && users::count(conn).await? == 0;
            let user = User { superuser, email_verified: user.email_verified || superuser, ..user };
            users::insert(conn, &user).await.map(|()| user)
        };
        let user = self.storage().transaction(insert).await?;
        if !user.email_verified {
            self.ask_new_user(&user).await?;
        }
        Ok(Registered { id: user.id, unverified: !user.email_verified })
    }

    /// Whether nobody has this username.
    pub async fn is_username_free(&self, username: Username) -> Result<bool, EngineError> {
        let there = async move |conn: &mut Conn| users::lookup_by_username(conn, username.as_str()).await;
        Ok(self.storage().read(there).await?.is_none())
    }

    /// Begins a session. `login` is a username or an email address; whether it or the password is wrong, nobody can tell.
    pub async fn login(&self, login: String, password: Secret<String>, remember: Remember) -> Result<Login, EngineError> {
        if self.settings().oidc_required {
            return Err(EngineError::OauthRequired);
        }
        let user = self.storage().read(async move |conn: &mut Conn| users::lookup_by_login(conn, &login).await).await?;
        let hash = user.as_ref().and_then(|user| user.password_hash.as_deref());
        let hash = hash.map(str::parse::<PasswordHash>).transpose()?;
        let right = self.passwords().verify(password, hash.as_ref()).await?;
        let user = user.filter(|_| right).ok_or(EngineError::InvalidCredentials)?;
        if self.verifies_email() && !user.email_verified {
            return Err(EngineError::EmailUnverified);
        }
        self.begin_session(user.id, remember).await
    }

    async fn begin_session(&self, user: UserId, remember: Remember) -> Result<Login, EngineError> {
        let lifetime = match remember {
            Remember::Day => SESSION,
            Remember::Month => REMEMBERED_SESSION,
        };
        let now = Moment::now();
        let session = Session {
            id: SessionId::new(),
            user,
            created_at: now,
            expires_at: now.plus(lifetime),
            remember: remember == Remember::Month,
            revoked_at: None,
        };
        let token = self.jwt().issue(user, session.id, now, lifetime)?;
        self.storage().write(async move |conn: &mut Conn| sessions::insert(conn, &session).await).await?;
        Ok(Login { token, lifetime })
    }

    /// Ends a session at once.
    pub async fn logout(&self, session: SessionId) -> Result<(), EngineError> {
        let now = Moment::now();
        self.storage().write(async move |conn: &mut Conn| sessions::revoke(conn, session, now).await.map(drop)).await?;
        Ok(())
    }

    /// The user, which must exist.
    pub async fn user(&self, id: UserId) -> Result<User, EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| users::find(conn, id).await).await?)
    }

    /// Changes a user's names or address; the address, where addresses have to be proven, once the new one is.
    pub async fn change_user(&self, id: UserId, mut changes: UserChanges) -> Result<User, EngineError> {
        self.ask_before_change(id, &mut changes).await?;
        let change = async move |conn: &mut Conn| {
            users::set(conn, id, &changes).await?;
            users::find(conn, id).await
        };
        Ok(self.storage().transaction(change).await?)
    }

    /// Gives a user a new password and ends the user's other sessions. `Forbidden` when the old one is wrong.
    pub async fn change_password(
        &self,
        id: UserId,
        session: SessionId,
        old: Secret<String>,
        new: Password,
    ) -> Result<(), EngineError> {
        self.confirm_password(id, old).await?;
        let hash = self.passwords().hash(new.into_secret(), &mut rand::rng()).await?;
        let now = Moment::now();
        let change = async move |conn: &mut Conn| {
            users::set_password(conn, id, hash.as_str()).await?;
            sessions::revoke_all_but(conn, id, session, now).await.map(drop)
        };
        Ok(self.storage().transaction(change).await?)
    }

    /// Removes a user. `Forbidden` when the confirmation is wrong, `Conflict` while the user is the last Admin of something.
    pub async fn delete_user(&self, id: UserId, confirmation: Confirmation) -> Result<(), EngineError> {
        match confirmation {
            Confirmation::Password(password) => self.confirm_password(id, password).await?,
            Confirmation::Username(username) => self.confirm_username(id, &username).await?,
        }
        let delete = async move |conn: &mut Conn| {
            let left_alone = users::last_admin_of(conn, id).await?;
            if !left_alone.is_empty() {
                let names = left_alone.join(", ");
                return Err(EngineError::Conflict(format!("you are the last Admin of {names}; appoint another one first")));
            }
            Ok(users::delete(conn, id).await?)
        };
        self.storage().try_transaction(delete).await
    }

    async fn confirm_password(&self, id: UserId, password: Secret<String>) -> Result<(), EngineError> {
        let Some(hash) = self.user(id).await?.password_hash else {
            let why = "you have no password here: you sign in at the OpenID provider";
            return Err(EngineError::Forbidden(why.to_owned()));
        };
        if self.passwords().verify(password, Some(&hash.parse()?)).await? {
            Ok(())
        } else {
            Err(EngineError::Forbidden("the password is wrong".to_owned()))
        }
    }

    async fn confirm_username(&self, id: UserId, username: &str) -> Result<(), EngineError> {
        let user = self.user(id).await?;
        if user.password_hash.is_some() {
            Err(EngineError::Forbidden("confirm it with your password".to_owned()))
        } else if user.username.as_str() == username {
            Ok(())
        } else {
            Err(EngineError::Forbidden("this is not your username".to_owned()))
        }
    }
}
