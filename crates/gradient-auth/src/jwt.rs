//! Tokens of people, as JWTs signed with HS256: of sessions, and of downloads.
//!
//! Each purpose has a key of its own, derived from the server's secret, so that a token for one is worth nothing for the other.

use std::time::Duration;

use gradient_domain::{BuildId, Moment, Secret, SessionId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::secrets::{SecretKey, SecretKeys};

/// Longer texts are no tokens of ours.
const MAX_LENGTH: usize = 2048;

/// How long a token of a download is good.
const DOWNLOAD: Duration = Duration::from_hours(1);

/// What a session's token says. Whether the session still lives, its row tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// Whose it is.
    pub id: UserId,
    /// Which session it is of.
    pub jti: SessionId,
}

/// What a download's token says.
#[derive(Debug, Serialize, Deserialize)]
struct DownloadClaims {
    exp: i64,
    build: BuildId,
}

/// A token that proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JwtError {
    /// Not a token, or not one that this server signed.
    #[error("the token is not valid")]
    Invalid,
    /// It was valid until `exp`.
    #[error("the token has expired")]
    Expired,
    /// The token could not be signed.
    #[error("the token could not be signed")]
    Signing,
}

/// Signs and checks tokens with the server's JWT secrets.
#[derive(Clone)]
pub struct JwtKeys {
    sessions: Signer,
    downloads: Signer,
}

impl JwtKeys {
    /// Signs with the newest of `keys`, believes all.
    pub fn new(keys: &SecretKeys) -> Self {
        Self { sessions: Signer::new(keys, "session tokens"), downloads: Signer::new(keys, "download tokens") }
    }

    /// A token for a session that ends `lifetime` after `now`.
    pub fn issue(&self, user: UserId, session: SessionId, now: Moment, lifetime: Duration) -> Result<Secret<String>, JwtError> {
        self.sessions.sign(&Claims { exp: now.plus(lifetime).seconds(), iat: now.seconds(), id: user, jti: session })
    }

    /// What `token` says, when one of the secrets signed it for a session and it has not expired.
    pub fn verify(&self, token: &str, now: Moment) -> Result<Claims, JwtError> {
        let claims: Claims = self.sessions.open(token)?;
        if claims.exp <= now.seconds() { Err(JwtError::Expired) } else { Ok(claims) }
    }

    /// A token for the downloads of one build, good for an hour.
    pub fn issue_download(&self, build: BuildId, now: Moment) -> Result<Secret<String>, JwtError> {
        self.downloads.sign(&DownloadClaims { exp: now.plus(DOWNLOAD).seconds(), build })
    }

    /// Whose downloads `token` is for, when one of the secrets signed it for downloads and it has not expired.
    pub fn verify_download(&self, token: &str, now: Moment) -> Result<BuildId, JwtError> {
        let claims: DownloadClaims = self.downloads.open(token)?;
        if claims.exp <= now.seconds() { Err(JwtError::Expired) } else { Ok(claims.build) }
    }

    /// The id of the secret that signs.
    pub fn signing_key(&self) -> Option<&str> {
        self.sessions.header.kid.as_deref()
    }
}

/// Signs and checks the tokens of one purpose.
#[derive(Clone)]
struct Signer {
    signing: EncodingKey,
    header: Header,
    known: Vec<(String, DecodingKey)>,
}

impl Signer {
    fn new(keys: &SecretKeys, purpose: &str) -> Self {
        let derive = |key: &SecretKey| key.derive(purpose);
        let header = Header { kid: Some(keys.newest().id().to_string()), ..Header::new(Algorithm::HS256) };
        let decoding = |key: &SecretKey| (key.id().to_string(), DecodingKey::from_secret(derive(key).expose()));
        Self {
            signing: EncodingKey::from_secret(derive(keys.newest()).expose()),
            header,
            known: keys.iter().map(decoding).collect(),
        }
    }

    fn sign(&self, claims: &impl Serialize) -> Result<Secret<String>, JwtError> {
        jsonwebtoken::encode(&self.header, claims, &self.signing).map(Secret::new).map_err(|_| JwtError::Signing)
    }

    /// What a token of ours says, whether it has expired or not.
    fn open<T: DeserializeOwned>(&self, token: &str) -> Result<T, JwtError> {
        if token.len() > MAX_LENGTH {
            return Err(JwtError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| JwtError::Invalid)?;
        let kid = header.kid.ok_or(JwtError::Invalid)?;
        let (_, key) = self.known.iter().find(|(known, _)| *known == kid).ok_or(JwtError::Invalid)?;
        jsonwebtoken::decode(token, key, &validation()).map(|token| token.claims).map_err(|_| JwtError::Invalid)
    }
}

/// Only the algorithm that we sign with; the time is compared with the caller's, not with the library's clock.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.set_required_spec_claims(&["exp"]);
    validation
}

impl std::fmt::Debug for JwtKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtKeys").field("signing", &self.sessions.header.kid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    const OLD: &str = "aaaaaaaabbbbbbbbccccccccdddddddd";
    const NEW: &str = "0123456789abcdef0123456789abcdef";
    const DAY: Duration = Duration::from_hours(24);

    fn keys(text: &str) -> JwtKeys {
        JwtKeys::new(&SecretKeys::parse(text).unwrap())
    }

    fn issue(keys: &JwtKeys, now: Moment) -> (Secret<String>, UserId, SessionId) {
        let (user, session) = (UserId::new(), SessionId::new());
        (keys.issue(user, session, now, DAY).unwrap(), user, session)
    }

    #[test]
    fn a_token_lives_until_its_end() {
        let now = Moment::from_micros(1_700_000_000_000_000);
        let (token, user, session) = issue(&keys(OLD), now);
        let claims = keys(OLD).verify(token.expose(), now.plus(Duration::from_secs(86_399))).unwrap();
        assert_eq!(claims, Claims { exp: 1_700_086_400, iat: 1_700_000_000, id: user, jti: session });
        assert_eq!(keys(OLD).verify(token.expose(), now.plus(DAY)), Err(JwtError::Expired));
    }

    #[test]
    fn a_replaced_secret_is_believed_while_it_is_listed() {
        let now = Moment::from_micros(0);
        let (token, ..) = issue(&keys(OLD), now);
        assert!(keys(&format!("{NEW}\n{OLD}")).verify(token.expose(), now).is_ok());
        assert_eq!(keys(NEW).verify(token.expose(), now), Err(JwtError::Invalid));
    }

    #[test]
    fn a_download_is_no_session_and_a_session_no_download() {
        let (keys, now, build) = (keys(OLD), Moment::from_micros(1_700_000_000_000_000), BuildId::new());
        let download = keys.issue_download(build, now).unwrap();
        assert_eq!(keys.verify_download(download.expose(), now.plus(Duration::from_secs(3599))), Ok(build));
        assert_eq!(keys.verify_download(download.expose(), now.plus(DOWNLOAD)), Err(JwtError::Expired));
        assert_eq!(keys.verify(download.expose(), now), Err(JwtError::Invalid));
        let (session, ..) = issue(&keys, now);
        assert_eq!(keys.verify_download(session.expose(), now), Err(JwtError::Invalid));
    }

    #[test]
    fn forgeries_are_refused() {
        let now = Moment::from_micros(0);
        let (token, ..) = issue(&keys(OLD), now);
        let parts: Vec<_> = token.expose().split('.').collect();
        let kid = keys(OLD).signing_key().unwrap().to_owned();
        let unsigned = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","typ":"JWT","kid":"{kid}"}}"#));
        let other = keys(OLD).issue(UserId::new(), SessionId::new(), now, DAY).unwrap();
        let other: Vec<_> = other.expose().split('.').collect();
        for forged in [
            String::new(),
            "a.b.c".to_owned(),
            format!("{unsigned}.{}.", parts[1]),
            format!("{}.{}.{}", parts[0], other[1], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            "x".repeat(5000),
        ] {
            assert_eq!(keys(OLD).verify(&forged, now), Err(JwtError::Invalid), "{forged:.100}");
        }
    }
}
