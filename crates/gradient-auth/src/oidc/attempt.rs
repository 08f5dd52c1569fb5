//! What the browser keeps while its user is at the provider.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gradient_domain::Moment;
use rand::CryptoRng;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::OidcError;
use crate::{Place, SealError, Sealer};

/// How long somebody may take at the provider.
const LIFETIME: Duration = Duration::from_mins(10);

/// It is no value of the database, but no value of the database may open as one either.
const PLACE: Place = Place { table: "cookie", column: "oidc_csrf", row: Uuid::nil() };

/// One attempt to sign in: it ties the provider's answer to the browser that asked for it.
pub struct SignInAttempt {
    /// Comes back beside the code.
    pub(super) state: String,
    /// Comes back in the ID token.
    pub(super) nonce: String,
    /// Redeems the code (PKCE).
    pub(super) verifier: String,
    ends: Moment,
}

impl SignInAttempt {
    /// A new one, with nothing in it that could be guessed.
    pub(super) fn new(now: Moment, rng: &mut impl CryptoRng) -> Self {
        let mut random = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            URL_SAFE_NO_PAD.encode(bytes)
        };
        Self { state: random(), nonce: random(), verifier: random(), ends: now.plus(LIFETIME) }
    }

    /// How long it is good for.
    pub const fn lifetime() -> Duration {
        LIFETIME
    }

    /// What the browser keeps, which it can neither read nor change.
    pub fn seal(&self, sealer: &Sealer, rng: &mut impl CryptoRng) -> Result<String, SealError> {
        let plain = [&self.state, &self.nonce, &self.verifier, &self.ends.micros().to_string()].map(String::as_str).join(" ");
        Ok(URL_SAFE_NO_PAD.encode(sealer.seal(plain.as_bytes(), PLACE, rng)?))
    }

    /// The attempt that `state` answers, when it is the one that the browser kept and has not ended.
    pub fn open(kept: &str, state: &str, sealer: &Sealer, now: Moment) -> Result<Self, OidcError> {
        let attempt = Self::read(kept, sealer).ok_or(OidcError::UnknownAttempt)?;
        let is_answered = bool::from(attempt.state.as_bytes().ct_eq(state.as_bytes()));
        if is_answered && now < attempt.ends { Ok(attempt) } else { Err(OidcError::UnknownAttempt) }
    }

    fn read(kept: &str, sealer: &Sealer) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(kept).ok()?;
        let plain = String::from_utf8(sealer.open(&bytes, PLACE).ok()?.into_inner()).ok()?;
        let mut parts = plain.split(' ').map(str::to_owned);
        let (state, nonce, verifier) = (parts.next()?, parts.next()?, parts.next()?);
        let ends = Moment::from_micros(parts.next()?.parse().ok()?);
        Some(Self { state, nonce, verifier, ends })
    }
}

impl std::fmt::Debug for SignInAttempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignInAttempt").field("ends", &self.ends).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKeys;

    const NOW: Moment = Moment::from_micros(1_790_000_000_000_000);

    fn sealer(secret: &str) -> Sealer {
        Sealer::new(&SecretKeys::parse(&secret.repeat(32)).unwrap())
    }

    #[test]
    fn it_is_good_for_its_browser_its_state_and_ten_minutes() {
        let (ours, now) = (sealer("a"), NOW);
        let attempt = SignInAttempt::new(now, &mut rand::rng());
        let kept = attempt.seal(&ours, &mut rand::rng()).unwrap();
        for secret in [&attempt.state, &attempt.nonce, &attempt.verifier] {
            assert!(!kept.contains(secret.as_str()) && !format!("{attempt:?}").contains(secret.as_str()));
        }
        let opened = SignInAttempt::open(&kept, &attempt.state, &ours, now).unwrap();
        assert_eq!((opened.nonce, opened.verifier), (attempt.nonce.clone(), attempt.verifier.clone()));

        let other = SignInAttempt::new(now, &mut rand::rng());
        let end = now.plus(LIFETIME);
        for (kept, state, sealer, now) in [
            (kept.as_str(), other.state.as_str(), &ours, now),
            (&kept, "", &ours, now),
            (&kept, &attempt.state, &sealer("b"), now),
            (&kept, &attempt.state, &ours, end),
            (&kept[1..], &attempt.state, &ours, now),
            ("", "", &ours, now),
        ] {
            let refused = SignInAttempt::open(kept, state, sealer, now).unwrap_err();
            assert!(matches!(refused, OidcError::UnknownAttempt), "{refused:?}");
        }
    }
}
