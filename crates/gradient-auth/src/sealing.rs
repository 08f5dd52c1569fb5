//! Secrets that the server has to read again: encrypted for one place in the database.
//!
//! A sealed value is `1`, the key's id (8 bytes), a nonce (24 bytes) and the XChaCha20-Poly1305 ciphertext with its tag. The place
//! is its associated data, so a value that is copied to another row or column does not open.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use gradient_domain::Secret;
use rand::CryptoRng;
use thiserror::Error;
use uuid::Uuid;

use crate::secrets::{KeyId, SecretKeys};

const VERSION: u8 = 1;
const NONCE: usize = 24;

/// Seals and opens with the server's crypt secrets.
#[derive(Clone)]
pub struct Sealer {
    /// The newest first.
    ciphers: Vec<(KeyId, XChaCha20Poly1305)>,
}

/// Where a sealed value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The row's key.
    pub row: Uuid,
}

/// A value that could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// Not something that was sealed.
    #[error("the value is no sealed value")]
    Malformed,
    /// The crypt secrets lack the one that sealed it.
    #[error("the value was sealed with the crypt secret {0:?}, which the crypt secrets do not hold")]
    UnknownKey(KeyId),
    /// Changed, or moved from another place.
    #[error("the sealed value was changed or belongs elsewhere")]
    Tampered,
    /// Larger than the cipher takes.
    #[error("the value is too large to seal")]
    TooLarge,
}

impl Sealer {
    /// Seals with the newest of `keys`, opens with all.
    pub fn new(keys: &SecretKeys) -> Self {
        let cipher = |key: &Secret<[u8; 32]>| XChaCha20Poly1305::new(key.expose().into());
        Self { ciphers: keys.iter().map(|key| (key.id(), cipher(&key.derive("seal")))).collect() }
    }

    /// Encrypts `plain` for `place`.
    pub fn seal(&self, plain: &[u8], place: Place, rng: &mut impl CryptoRng) -> Result<Vec<u8>, SealError> {
        let (id, cipher) = self.ciphers.first().ok_or(SealError::Malformed)?;
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let aad = place.associated_data();
        let ciphertext =
            cipher.encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad: &aad }).map_err(|_| SealError::TooLarge)?;
        Ok([&[VERSION][..], id.as_bytes(), &nonce, &ciphertext].concat())
    }

    /// Decrypts what was sealed for `place`.
    pub fn open(&self, sealed: &[u8], place: Place) -> Result<Secret<Vec<u8>>, SealError> {
        let (id, rest) = read_header(sealed)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Malformed)?;
        let (_, cipher) = self.ciphers.iter().find(|(known, _)| *known == id).ok_or(SealError::UnknownKey(id))?;
        cipher
            .decrypt(XNonce::from_slice(nonce), Payload { msg: ciphertext, aad: &place.associated_data() })
            .map(Secret::new)
            .map_err(|_| SealError::Tampered)
    }

    /// Whether the newest secret sealed it; what an older one sealed should be sealed again.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        let newest = self.ciphers.first().map(|(id, _)| *id);
        read_header(sealed).is_ok_and(|(id, _)| Some(id) == newest)
    }
}

fn read_header(sealed: &[u8]) -> Result<(KeyId, &[u8]), SealError> {
    match sealed.split_first() {
        Some((&VERSION, rest)) => {
            let (id, rest) = rest.split_first_chunk::<8>().ok_or(SealError::Malformed)?;
            Ok((KeyId::from_bytes(*id), rest))
        }
        _ => Err(SealError::Malformed),
    }
}

impl Place {
    fn associated_data(self) -> Vec<u8> {
        [self.table.as_bytes(), &[0], self.column.as_bytes(), &[0], self.row.as_bytes()].concat()
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ciphers.iter().map(|(id, _)| id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "aaaaaaaabbbbbbbbccccccccdddddddd";
    const NEW: &str = "0123456789abcdef0123456789abcdef";

    fn sealer(text: &str) -> Sealer {
        Sealer::new(&SecretKeys::parse(text).unwrap())
    }

    fn place() -> Place {
        Place { table: "organizations", column: "ssh_private_sealed", row: Uuid::from_u128(7) }
    }

    #[test]
    fn it_opens_in_its_place_only() {
        let crypt = sealer(OLD);
        let sealed = crypt.seal(b"key", place(), &mut rand::rng()).unwrap();
        assert_eq!(crypt.open(&sealed, place()).unwrap().expose(), b"key");
        for elsewhere in [
            Place { table: "caches", ..place() },
            Place { column: "other", ..place() },
            Place { row: Uuid::from_u128(8), ..place() },
        ] {
            assert_eq!(crypt.open(&sealed, elsewhere).unwrap_err(), SealError::Tampered, "{elsewhere:?}");
        }
    }

    #[test]
    fn an_older_secret_still_opens() {
        let sealed = sealer(OLD).seal(b"key", place(), &mut rand::rng()).unwrap();
        let both = sealer(&format!("{NEW}\n{OLD}"));
        assert_eq!(both.open(&sealed, place()).unwrap().expose(), b"key");
        assert!(!both.is_current(&sealed) && sealer(OLD).is_current(&sealed));
        assert!(matches!(sealer(NEW).open(&sealed, place()), Err(SealError::UnknownKey(_))));
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_noticed(plain in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), bits in 1_u8..) {
            let crypt = sealer(OLD);
            let mut sealed = crypt.seal(&plain, place(), &mut rand::rng()).unwrap();
            prop_assert_eq!(crypt.open(&sealed, place()).unwrap().into_inner(), plain);
            let at = at.index(sealed.len());
            sealed[at] ^= bits;
            prop_assert!(crypt.open(&sealed, place()).is_err());
            sealed.truncate(at);
            prop_assert!(crypt.open(&sealed, place()).is_err());
        }
    }
}
