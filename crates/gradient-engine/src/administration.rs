//! What the people do who run the server's machine: with the database alone, whether a server runs on it or not.

mod reseal;
mod verify_store;

use gradient_auth::{PasswordHash, PasswordHasher};
use gradient_domain::{DisplayName, Email, Moment, Password, UserId, Username};
use gradient_storage::{
    Conn, Storage, sessions,
    users::{self, User, UserChanges},
};

use crate::EngineError;

pub use reseal::Resealed;
pub use verify_store::{Fault, StoreReport, Verification};

/// The use cases that need no running [`Engine`](crate::Engine), and no permission but access to the database.
#[derive(Debug, Clone)]
pub struct Administration {
    storage: Storage,
}

/// A user as whoever runs the server makes it.
#[derive(Debug)]
pub struct NewUser {
    /// The login name.
    pub username: Username,
    /// What others read.
    pub name: DisplayName,
    /// The address.
    pub email: Email,
    /// The password.
    pub password: Password,
    /// Whether it may do what concerns the whole server.
    pub superuser: bool,
}

impl Administration {
    /// Of the server on this database.
    pub fn new(storage: Storage) -> Self {
        Self { storage }
    }

    /// Makes a user, also where nobody may register. Whoever runs the server answers for the address. `AlreadyExists` when the username or the address is taken.
    pub async fn create_user(&self, passwords: &PasswordHasher, wanted: NewUser) -> Result<UserId, EngineError> {
        let NewUser { username, name, email, password, superuser } = wanted;
        let hash = passwords.hash(password.into_secret(), &mut rand::rng()).await?;
        let password_hash = Some(hash.as_str().to_owned());
        let user = User {
            id: UserId::new(),
            username,
            name,
            email,
            password_hash,
            superuser,
            created_at: Moment::now(),
            email_verified: true,
        };
        let id = user.id;
        self.storage.write(async move |conn: &mut Conn| users::insert(conn, &user).await).await?;
        Ok(id)
    }

    /// Makes a user a superuser.
    pub async fn promote_user(&self, username: Username) -> Result<(), EngineError> {
        let promote = async move |conn: &mut Conn| {
            let user = find(conn, &username).await?;
            let changes = UserChanges { superuser: Some(true), ..UserChanges::default() };
            Ok(users::set(conn, user.id, &changes).await?)
        };
        self.storage.try_transaction(promote).await
    }

    /// Counts a user's address as proven, which no mail reaches or no mail was sent to.
    pub async fn verify_email(&self, username: Username) -> Result<(), EngineError> {
        let verify = async move |conn: &mut Conn| {
            let user = find(conn, &username).await?;
            let changes = UserChanges { email_verified: Some(true), ..UserChanges::default() };
            Ok(users::set(conn, user.id, &changes).await?)
        };
        self.storage.try_transaction(verify).await
    }

    /// Gives a user a new password and ends all of the user's sessions; how many there were.
    pub async fn reset_password(
        &self,
        passwords: &PasswordHasher,
        username: Username,
        password: Password,
    ) -> Result<usize, EngineError> {
        let hash: PasswordHash = passwords.hash(password.into_secret(), &mut rand::rng()).await?;
        let now = Moment::now();
        let reset = async move |conn: &mut Conn| {
            let user = find(conn, &username).await?;
            users::set_password(conn, user.id, hash.as_str()).await?;
            Ok(sessions::revoke_all(conn, user.id, now).await?)
        };
        self.storage.try_transaction(reset).await
    }
}

async fn find(conn: &mut Conn, username: &Username) -> Result<User, EngineError> {
    let user = users::lookup_by_username(conn, username.as_str()).await?;
    user.ok_or_else(|| EngineError::NotFound { what: "user", name: username.to_string() })
}
