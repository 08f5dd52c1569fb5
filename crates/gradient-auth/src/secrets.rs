//! The server's own secrets: what a secret file holds.
//!
//! One secret a line, the newest first; empty lines and lines that begin with `#` do not count. The first one signs and seals,
//! all of them verify and open, so that a secret can be replaced while what the old one made is still around.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use gradient_domain::Secret;
use rand::CryptoRng;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The fewest characters of a secret: what 24 random bytes have in base64.
const MIN_LENGTH: usize = 32;
/// More secrets in one file are a mistake.
const MAX_KEYS: usize = 32;

/// One or more secrets, the newest first.
#[derive(Debug, Clone)]
pub struct SecretKeys {
    newest: SecretKey,
    older: Vec<SecretKey>,
}

/// One secret, as far as this crate lets it out: an id for anybody, and keys derived for one purpose each.
#[derive(Debug, Clone)]
pub(crate) struct SecretKey {
    text: Secret<String>,
    id: KeyId,
}

/// Which secret made something. It tells nothing about the secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

/// A secret file that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SecretKeysError {
    /// No secret in it.
    #[error("it holds no secret: expected one a line, each of at least 32 characters")]
    Empty,
    /// A secret that could be guessed.
    #[error("the secret in line {line} is too short: expected at least 32 characters, such as `openssl rand -base64 48` makes")]
    TooShort {
        /// Counted from 1.
        line: usize,
    },
    /// More than 32 secrets.
    #[error("it holds more than 32 secrets")]
    TooMany,
}

impl SecretKeys {
    /// Reads the text of a secret file, or of a setting that holds the secret itself.
    pub fn parse(text: &str) -> Result<Self, SecretKeysError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.chars().count() < MIN_LENGTH {
                return Err(SecretKeysError::TooShort { line: index + 1 });
            }
            if keys.len() == MAX_KEYS {
                return Err(SecretKeysError::TooMany);
            }
            keys.push(SecretKey::new(line));
        }
        let mut keys = keys.into_iter();
        let newest = keys.next().ok_or(SecretKeysError::Empty)?;
        Ok(Self { newest, older: keys.collect() })
    }

    /// The text of a new secret file: one secret of 48 random bytes in base64, and a newline.
    pub fn generate_file(rng: &mut impl CryptoRng) -> Secret<String> {
        let mut bytes = [0; 48];
        rng.fill_bytes(&mut bytes);
        Secret::new(format!("{}\n", STANDARD.encode(bytes)))
    }

    /// The id of the secret that signs and seals: its fingerprint, that the database keeps.
    pub fn fingerprint(&self) -> KeyId {
        self.newest.id
    }

    /// Whether one of the secrets has this fingerprint.
    pub fn has_fingerprint(&self, fingerprint: &str) -> bool {
        self.iter().any(|key| key.id.to_string() == fingerprint)
    }

    pub(crate) fn newest(&self) -> &SecretKey {
        &self.newest
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &SecretKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }
}

impl SecretKey {
    fn new(text: &str) -> Self {
        let digest = digest("key id", text);
        let mut id = [0; 8];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self { text: Secret::new(text.to_owned()), id: KeyId(id) }
    }

    pub(crate) const fn id(&self) -> KeyId {
        self.id
    }

    /// A key for one purpose; keys for different purposes tell nothing about each other.
    pub(crate) fn derive(&self, purpose: &str) -> Secret<[u8; 32]> {
        Secret::new(digest(purpose, self.text.expose()))
    }
}

/// The secret has the entropy of a key already, so one keyed pass is enough.
fn digest(purpose: &str, secret: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"gradient ");
    hasher.update(purpose.as_bytes());
    hasher.update([0]);
    hasher.update(secret.as_bytes());
    hasher.finalize().into()
}

impl KeyId {
    pub(crate) const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaabbbbbbbbccccccccdddddddd";
    const B: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_generated_file_parses() {
        let file = SecretKeys::generate_file(&mut rand::rng());
        let keys = SecretKeys::parse(file.expose()).unwrap();
        assert_eq!(keys.iter().count(), 1);
        assert_eq!(file.expose().trim_end().len(), 64);
        assert!(!format!("{keys:?}").contains(file.expose().trim()));
    }

    #[test]
    fn the_first_secret_is_the_newest_and_all_are_known() {
        let old = SecretKeys::parse(A).unwrap();
        let both = SecretKeys::parse(&format!("# new\n{B}\n\n {A} \r\n")).unwrap();
        assert_ne!(both.fingerprint(), old.fingerprint());
        assert!(both.has_fingerprint(&old.fingerprint().to_string()));
        assert!(!old.has_fingerprint(&both.fingerprint().to_string()));
    }

    #[test]
    fn what_could_be_guessed_is_refused() {
        assert_eq!(SecretKeys::parse("\n# nothing\n").unwrap_err(), SecretKeysError::Empty);
        assert_eq!(SecretKeys::parse(&format!("{A}\nchangeme")).unwrap_err(), SecretKeysError::TooShort { line: 2 });
        assert_eq!(SecretKeys::parse(&format!("{A}\n").repeat(33)).unwrap_err(), SecretKeysError::TooMany);
    }
}
