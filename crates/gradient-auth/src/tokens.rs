//! Random tokens: what proves a key, a worker's registration, a worker's session.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use gradient_domain::Secret;
use rand::{
    CryptoRng,
    distr::{Alphanumeric, SampleString},
};
use thiserror::Error;

use crate::SecretHash;

const API_KEY_PREFIX: &str = "GRAD";
const API_KEY_RANDOM: usize = 64;

/// What a caller sends as its bearer token, or as the password of Basic authentication.
#[derive(Debug)]
pub enum Bearer<'a> {
    /// An API key.
    ApiKey(ApiKey),
    /// Anything else: a JWT, if it is worth anything.
    Jwt(&'a str),
}

impl<'a> Bearer<'a> {
    /// Tells the two apart by the prefix of API keys. What has the prefix but is no key is `None`.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.starts_with(API_KEY_PREFIX) { ApiKey::parse(text).map(Self::ApiKey) } else { Some(Self::Jwt(text)) }
    }
}

/// An API key in plain text: `GRAD` and 64 letters and digits. Shown once, when it is made.
#[derive(Debug, Clone)]
pub struct ApiKey(Secret<String>);

impl ApiKey {
    /// A new random key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(Secret::new(format!("{API_KEY_PREFIX}{}", Alphanumeric.sample_string(rng, API_KEY_RANDOM))))
    }

    /// The key that `text` is; `None` when it has not the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let random = text.strip_prefix(API_KEY_PREFIX)?;
        let fits = random.len() == API_KEY_RANDOM && random.bytes().all(|c| c.is_ascii_alphanumeric());
        fits.then(|| Self(Secret::new(text.to_owned())))
    }

    /// The plain text.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What is kept of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.expose().as_bytes())
    }
}

/// What a worker proves its registration with: 48 random bytes as 64 characters of standard base64.
#[derive(Debug, Clone)]
pub struct WorkerToken(Secret<String>);

/// A text that is no worker token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a worker token must be exactly 64 characters of standard base64, such as `openssl rand -base64 48` prints")]
pub struct WorkerTokenError;

impl WorkerToken {
    /// A new random token.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 48];
        rng.fill_bytes(&mut bytes);
        Self(Secret::new(STANDARD.encode(bytes)))
    }

    /// The token that `text` is.
    pub fn parse(text: &str) -> Result<Self, WorkerTokenError> {
        match STANDARD.decode(text) {
            Ok(bytes) if bytes.len() == 48 => Ok(Self(Secret::new(text.to_owned()))),
            _ => Err(WorkerTokenError),
        }
    }

    /// The plain text.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What is kept of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.expose().as_bytes())
    }
}

/// Declares a token of 32 random bytes in URL-safe base64.
macro_rules! random_token {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $name(Secret<String>);

        impl $name {
            /// A new random token.
            pub fn generate(rng: &mut impl CryptoRng) -> Self {
                let mut bytes = [0; 32];
                rng.fill_bytes(&mut bytes);
                Self(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
            }

            /// The plain text.
            pub fn expose(&self) -> &str {
                self.0.expose()
            }

            /// What is kept of it; a presented token is this one when its [`SecretHash::of`] matches.
            pub fn hash(&self) -> SecretHash {
                SecretHash::of(self.expose().as_bytes())
            }
        }
    };
}

random_token! {
    /// What a connected worker proves its session with on the bulk routes.
    SessionToken
}
random_token! {
    /// What proves that mail to an address is read: whoever has it has read the mail.
    EmailToken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_keys_have_their_form() {
        let key = ApiKey::generate(&mut rand::rng());
        assert_eq!(key.expose().len(), 68);
        assert!(ApiKey::parse(key.expose()).unwrap().hash().matches(&key.hash()));
        assert!(!ApiKey::generate(&mut rand::rng()).hash().matches(&key.hash()));
        assert!(!format!("{key:?}").contains(key.expose()));
        for text in ["", "GRAD", &key.expose()[..67], &format!("{}x", key.expose()), &key.expose().replace("GRAD", "grad")] {
            assert!(ApiKey::parse(text).is_none(), "{text:?}");
        }
        assert!(ApiKey::parse(&format!("GRAD{}-", "a".repeat(63))).is_none());
    }

    #[test]
    fn a_bearer_is_a_key_or_a_jwt() {
        let key = ApiKey::generate(&mut rand::rng());
        assert!(matches!(Bearer::parse(key.expose()), Some(Bearer::ApiKey(_))));
        assert!(matches!(Bearer::parse("eyJ.e.s"), Some(Bearer::Jwt("eyJ.e.s"))));
        assert!(Bearer::parse("GRADx").is_none());
    }

    #[test]
    fn worker_tokens_have_their_form() {
        let token = WorkerToken::generate(&mut rand::rng());
        assert_eq!(token.expose().len(), 64);
        assert!(WorkerToken::parse(token.expose()).unwrap().hash().matches(&token.hash()));
        for text in ["", "a1b2", &"a".repeat(63), &"a".repeat(65), &"-".repeat(64), &format!("{}\n", "a".repeat(64))] {
            assert_eq!(WorkerToken::parse(text).unwrap_err(), WorkerTokenError, "{text:?}");
        }
    }

    #[test]
    fn session_tokens_are_known_by_their_hash() {
        let token = SessionToken::generate(&mut rand::rng());
        assert!(SecretHash::of(token.expose().as_bytes()).matches(&token.hash()));
        assert!(!SessionToken::generate(&mut rand::rng()).hash().matches(&token.hash()));
    }
}
