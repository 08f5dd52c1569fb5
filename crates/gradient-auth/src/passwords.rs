//! Password hashes: argon2id, as PHC strings, in a pool that a flood of logins cannot grow.

use std::{fmt, num::NonZeroUsize, str::FromStr, sync::Arc};

use argon2::{
    Argon2,
    password_hash::{self, PasswordHasher as _, PasswordVerifier as _, phc},
};
use gradient_domain::Secret;
use rand::CryptoRng;
use thiserror::Error;
use tokio::sync::Semaphore;

/// How many requests may wait for one core.
const QUEUE_PER_CORE: usize = 16;

/// A hash of a password, as a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// A password that could not be hashed or compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordHashError {
    /// Too many requests wait already.
    #[error("too many logins at once; try again")]
    Overloaded,
    /// What should be a hash is none.
    #[error("a stored password hash is malformed")]
    Malformed,
    /// The algorithm refused its input.
    #[error("the password could not be hashed")]
    Failed,
}

/// Hashes and compares passwords, on as many threads as there are cores.
#[derive(Debug, Clone)]
pub struct PasswordHasher {
    cores: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    nobody: PasswordHash,
}

impl PasswordHasher {
    /// A pool as wide as `cores`, with a queue of 16 for each.
    pub fn new(cores: NonZeroUsize, rng: &mut impl CryptoRng) -> Result<Self, PasswordHashError> {
        let mut nobodys_password = [0; 32];
        rng.fill_bytes(&mut nobodys_password);
        Ok(Self {
            cores: Arc::new(Semaphore::new(cores.get())),
            admitted: Arc::new(Semaphore::new(cores.get().saturating_mul(1 + QUEUE_PER_CORE))),
            nobody: hash(&nobodys_password, salt(rng))?,
        })
    }

    /// The hash of `password`.
    pub async fn hash(&self, password: Secret<String>, rng: &mut impl CryptoRng) -> Result<PasswordHash, PasswordHashError> {
        let salt = salt(rng);
        self.run(move || hash(password.expose().as_bytes(), salt)).await
    }

    /// Whether `password` is the one that was hashed. Without a hash (nobody has the name, or the user has no password) the answer
    /// is no, and takes as long.
    pub async fn verify(&self, password: Secret<String>, hash: Option<&PasswordHash>) -> Result<bool, PasswordHashError> {
        let exists = hash.is_some();
        let hash = hash.unwrap_or(&self.nobody).clone();
        self.run(move || verify(password.expose().as_bytes(), &hash)).await.map(|right| right && exists)
    }

    async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<R, PasswordHashError> + Send + 'static,
    ) -> Result<R, PasswordHashError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| PasswordHashError::Overloaded)?;
        let core = Arc::clone(&self.cores).acquire_owned().await.map_err(|_| PasswordHashError::Overloaded)?;
        // The permits travel with the work: whoever stops waiting does not free a core that is still busy.
        let done = tokio::task::spawn_blocking(move || {
            let _held = (admitted, core);
            work()
        });
        done.await.map_err(|_| PasswordHashError::Failed)?
    }
}

fn salt(rng: &mut impl CryptoRng) -> [u8; 16] {
    let mut salt = [0; 16];
    rng.fill_bytes(&mut salt);
    salt
}

fn hash(password: &[u8], salt: [u8; 16]) -> Result<PasswordHash, PasswordHashError> {
    let hash: phc::PasswordHash =
        Argon2::default().hash_password_with_salt(password, &salt).map_err(|_| PasswordHashError::Failed)?;
    Ok(PasswordHash(hash.to_string()))
}

fn verify(password: &[u8], hash: &PasswordHash) -> Result<bool, PasswordHashError> {
    let hash = parse(&hash.0)?;
    match Argon2::default().verify_password(password, &hash) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(_) => Err(PasswordHashError::Malformed),
    }
}

/// A PHC string may lack its salt and hash, which would make every password wrong.
fn parse(text: &str) -> Result<phc::PasswordHash, PasswordHashError> {
    let hash = phc::PasswordHash::new(text).map_err(|_| PasswordHashError::Malformed)?;
    if hash.salt.is_some() && hash.hash.is_some() { Ok(hash) } else { Err(PasswordHashError::Malformed) }
}

impl PasswordHash {
    /// The PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PasswordHash {
    type Err = PasswordHashError;

    fn from_str(text: &str) -> Result<Self, PasswordHashError> {
        parse(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher() -> PasswordHasher {
        PasswordHasher::new(NonZeroUsize::MIN, &mut rand::rng()).unwrap()
    }

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_right_password_is_right() {
        let hasher = hasher();
        let hash = hasher.hash(secret("Correct-Horse-7"), &mut rand::rng()).await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$"));
        let stored: PasswordHash = hash.as_str().parse().unwrap();
        assert_eq!(hasher.verify(secret("Correct-Horse-7"), Some(&stored)).await, Ok(true));
        assert_eq!(hasher.verify(secret("correct-horse-7"), Some(&stored)).await, Ok(false));
        assert_eq!(hasher.verify(secret("Correct-Horse-7"), None).await, Ok(false));
        let again = hasher.hash(secret("Correct-Horse-7"), &mut rand::rng()).await.unwrap();
        assert_ne!(again, hash, "the salt is random");
    }

    #[test]
    fn a_broken_hash_is_an_error_and_not_a_wrong_password() {
        assert_eq!("plain".parse::<PasswordHash>(), Err(PasswordHashError::Malformed));
        assert_eq!(verify(b"x", &PasswordHash("$argon2id$v=19$m=1".to_owned())), Err(PasswordHashError::Malformed));
    }

    #[tokio::test]
    async fn a_flood_is_turned_away() {
        let hasher = hasher();
        let everything = Arc::clone(&hasher.admitted).acquire_many_owned(17).await.unwrap();
        assert_eq!(hasher.verify(secret("x"), None).await, Err(PasswordHashError::Overloaded));
        drop(everything);
        assert_eq!(hasher.verify(secret("x"), None).await, Ok(false));
        assert_eq!(hasher.admitted.available_permits(), 17);
    }
}
