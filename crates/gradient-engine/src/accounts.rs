//! Who people are: registration, login, and from a bearer token to the caller.

mod setup;

use std::time::Duration;

use gradient_auth::{ApiKey, Authenticated, Bearer, Caller, KeyAuthority, PasswordHash, Pin, Via};
use gradient_domain::{DisplayName, Email, Moment, Password, Secret, SessionId, UserId, Username};
use gradient_storage::{
    Conn, Digest, StorageError, api_keys,
    sessions::{self, Session},
    users,
};

use crate::{Engine, EngineError};

pub(crate) use setup::SetupToken;

pub use gradient_storage::users::{User, UserChanges};

/// How long a session lasts.
const SESSION: Duration = Duration::from_hours(24);
/// How long one lasts whose user asked to be remembered.
const REMEMBERED_SESSION: Duration = Duration::from_hours(24 * 30);
/// How exact the last use of an API key is.
const KEY_USE: Duration = Duration::from_mins(1);

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
    /// Registers a user. The first one becomes superuser when the request comes from this machine or with the setup token.
    pub async fn register(&self, registration: Registration) -> Result<UserId, EngineError> {
        if !self.settings().enable_registration {
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
        };
        let id = user.id;
        self.storage()
            .transaction(async move |conn: &mut Conn| {
                let superuser = origin != Origin::Elsewhere && users::count(conn).await? == 0;
                users::insert(conn, &User { superuser, ..user }).await
            })
            .await?;
        Ok(id)
    }

    /// Whether nobody has this username.
    pub async fn is_username_free(&self, username: Username) -> Result<bool, EngineError> {
        let there = async move |conn: &mut Conn| users::lookup_by_username(conn, username.as_str()).await;
        Ok(self.storage().read(there).await?.is_none())
    }

    /// Begins a session. `login` is a username or an email address; whether it or the password is wrong, nobody can tell.
    pub async fn login(&self, login: String, password: Secret<String>, remember: Remember) -> Result<Login, EngineError> {
        let user = self.storage().read(async move |conn: &mut Conn| users::lookup_by_login(conn, &login).await).await?;
        let hash = user.as_ref().and_then(|user| user.password_hash.as_deref());
        let hash = hash.map(str::parse::<PasswordHash>).transpose()?;
        let right = self.passwords().verify(password, hash.as_ref()).await?;
        let user = user.filter(|_| right).ok_or(EngineError::InvalidCredentials)?;

        let lifetime = match remember {
            Remember::Day => SESSION,
            Remember::Month => REMEMBERED_SESSION,
        };
        let now = Moment::now();
        let session = Session {
            id: SessionId::new(),
            user: user.id,
            created_at: now,
            expires_at: now.plus(lifetime),
            remember: remember == Remember::Month,
            revoked_at: None,
        };
        let token = self.jwt().issue(user.id, session.id, now, lifetime)?;
        self.storage().write(async move |conn: &mut Conn| sessions::insert(conn, &session).await).await?;
        Ok(Login { token, lifetime })
    }

    /// Ends a session at once.
    pub async fn logout(&self, session: SessionId) -> Result<(), EngineError> {
        let now = Moment::now();
        self.storage().write(async move |conn: &mut Conn| sessions::revoke(conn, session, now).await.map(drop)).await?;
        Ok(())
    }

    /// Whose token this is: a JWT or an API key. Bad, expired and revoked ones are all `Unauthorized`.
    pub async fn caller(&self, bearer: &str) -> Result<Caller, EngineError> {
        match Bearer::parse(bearer).ok_or(EngineError::Unauthorized)? {
            Bearer::Jwt(token) => self.caller_of_session(token).await,
            Bearer::ApiKey(key) => self.caller_of_key(&key).await,
        }
    }

    async fn caller_of_session(&self, token: &str) -> Result<Caller, EngineError> {
        let now = Moment::now();
        let claims = self.jwt().verify(token, now)?;
        let live = async move |conn: &mut Conn| {
            let session = sessions::lookup_live(conn, claims.jti, now).await?;
            match session.filter(|session| session.user == claims.id) {
                Some(session) => users::lookup(conn, session.user).await,
                None => Ok(None),
            }
        };
        let user = self.storage().read(live).await?.ok_or(EngineError::Unauthorized)?;
        Ok(Caller::User(Authenticated { user: user.id, superuser: user.superuser, via: Via::Session(claims.jti) }))
    }

    async fn caller_of_key(&self, key: &ApiKey) -> Result<Caller, EngineError> {
        let (hash, now) = (Digest(*key.hash().as_bytes()), Moment::now());
        let found = async move |conn: &mut Conn| {
            let key = api_keys::lookup_by_hash(conn, hash).await?;
            match key.filter(|key| key.expires_at.is_none_or(|end| now < end)) {
                Some(key) => Ok(users::lookup(conn, key.user).await?.map(|user| (key, user))),
                None => Ok::<_, StorageError>(None),
            }
        };
        let (key, user) = self.storage().read(found).await?.ok_or(EngineError::Unauthorized)?;
        if key.last_used_at.is_none_or(|last| now.since(last) >= KEY_USE) {
            let id = key.id;
            self.storage().write(async move |conn: &mut Conn| api_keys::touch(conn, id, now).await).await?;
        }
        let pin = match (key.organization, key.cache) {
            (_, Some(cache)) => Pin::Cache(cache),
            (Some(organization), None) => Pin::Organization(organization),
            (None, None) => Pin::Everywhere,
        };
        let authority = KeyAuthority { id: key.id, permissions: key.permissions, cache_permissions: key.cache_permissions, pin };
        // A key does not carry its user's rights over the server.
        Ok(Caller::User(Authenticated { user: user.id, superuser: false, via: Via::ApiKey(authority) }))
    }

    /// The user, which must exist.
    pub async fn user(&self, id: UserId) -> Result<User, EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| users::find(conn, id).await).await?)
    }

    /// Changes a user's names or address.
    pub async fn change_user(&self, id: UserId, changes: UserChanges) -> Result<User, EngineError> {
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

    /// Removes a user. `Forbidden` when the password is wrong, `Conflict` while the user is the last Admin of something.
    pub async fn delete_user(&self, id: UserId, password: Secret<String>) -> Result<(), EngineError> {
        self.confirm_password(id, password).await?;
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
        let hash = self.user(id).await?.password_hash;
        let hash = hash.as_deref().map(str::parse::<PasswordHash>).transpose()?;
        if self.passwords().verify(password, hash.as_ref()).await? {
            Ok(())
        } else {
            Err(EngineError::Forbidden("the password is wrong".to_owned()))
        }
    }
}
