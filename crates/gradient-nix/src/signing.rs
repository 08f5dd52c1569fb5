//! Ed25519 keys in Nix's notation: `name:base64`, for signatures, public keys (32 bytes) and secret keys (64 bytes).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _};

/// Signs what a cache says of a path. Its name is part of every signature and never changes.
#[derive(Clone)]
pub struct SigningKey {
    name: String,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// Makes the key of a cache from 32 bytes of fresh randomness. `host` is the server's host without its port.
    pub fn generate(host: &str, cache: &str, randomness: [u8; 32]) -> Result<Self, KeyError> {
        Self::from_bytes(&format!("{host}-{cache}"), &randomness)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave.
    pub fn from_bytes(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        Ok(Self { name: checked_name(name)?, key: ed25519_dalek::SigningKey::from_bytes(seed) })
    }

    /// The secret itself, without the name.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Reads the file that `nix-store --generate-binary-cache-key` makes.
    pub fn from_nix_secret(text: &str) -> Result<Self, KeyError> {
        let (name, bytes) = named_bytes::<64>(text.trim())?;
        let key = ed25519_dalek::SigningKey::from_keypair_bytes(&bytes).map_err(|_| KeyError::NotAKey)?;
        Ok(Self { name, key })
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What verifies this key's signatures.
    pub fn public(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// The signature of a fingerprint, `name:base64`.
    pub fn sign(&self, fingerprint: &str) -> String {
        let signature = self.key.sign(fingerprint.as_bytes());
        format!("{}:{}", self.name, STANDARD.encode(signature.to_bytes()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a client puts into its `trusted-public-keys`. Shown and read as `name:base64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: ed25519_dalek::VerifyingKey,
}

impl PublicKey {
    /// Puts a name and the key's 32 bytes together.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| KeyError::Bytes { expected: 32 })?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAKey)?;
        Ok(Self { name: checked_name(name)?, key })
    }

    /// The key's 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `signature` is of this key's name and made by it over `fingerprint`.
    pub fn verifies(&self, fingerprint: &str, signature: &str) -> bool {
        named_bytes::<64>(signature).is_ok_and(|(name, bytes)| {
            name == self.name && self.key.verify_strict(fingerprint.as_bytes(), &Signature::from_bytes(&bytes)).is_ok()
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, STANDARD.encode(self.key.as_bytes()))
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, bytes) = named_bytes::<32>(text)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::NotAKey)?;
        Ok(Self { name, key })
    }
}

/// Why a text is not a key or a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no colon between a name and the rest.
    #[error("a key is written <name>:<base64>")]
    NoName,
    /// A name would not survive in a line of a narinfo.
    #[error("{0:?} cannot be the name of a key: it has to be visible text without spaces and colons")]
    Name(String),
    /// What is behind the colon is not base64 of the right length.
    #[error("a key has {expected} bytes in base64 behind its name")]
    Bytes {
        /// How many bytes it has to be.
        expected: usize,
    },
    /// The bytes are no key of Ed25519.
    #[error("the bytes are not an Ed25519 key")]
    NotAKey,
}

fn named_bytes<const N: usize>(text: &str) -> Result<(String, [u8; N]), KeyError> {
    let (name, encoded) = text.split_once(':').ok_or(KeyError::NoName)?;
    let name = checked_name(name)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| KeyError::Bytes { expected: N })?;
    let bytes = bytes.try_into().map_err(|_| KeyError::Bytes { expected: N })?;
    Ok((name, bytes))
}

fn checked_name(name: &str) -> Result<String, KeyError> {
    let visible = |c: char| c != ':' && !c.is_whitespace() && !c.is_control();
    if name.is_empty() || name.len() > 512 || !name.chars().all(visible) {
        return Err(KeyError::Name(name.chars().take(80).collect()));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests;
