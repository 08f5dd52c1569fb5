use std::fmt;
use std::str::FromStr;

use nix_derivation::{HashAlgorithm, NixHash, hash, nixbase32};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::store_path::deserialize_text;

/// The SHA-256 of a NAR, or of a file in a cache. Shown and serialised as `sha256:<52 characters of Nix's base32>`; read from
/// that, from `sha256:<64 hexadecimal digits>` and from `sha256-<base64>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "sql", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
#[cfg_attr(feature = "sql", diesel(sql_type = diesel::sql_types::Binary))]
pub struct NarHash(pub [u8; 32]);

impl NarHash {
    /// The digest in Nix's base32, without the algorithm: how files are named.
    pub fn to_nix32(&self) -> String {
        nixbase32::encode(&self.0)
    }

    /// Reads what [`to_nix32`](Self::to_nix32) writes.
    pub fn from_nix32(text: &str) -> Result<Self, NarHashError> {
        nixbase32::decode(text.as_bytes())
            .ok()
            .and_then(|digest| digest.try_into().ok())
            .map(Self)
            .ok_or_else(|| NarHashError::NotNix32(text.chars().take(80).collect()))
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Why a text is not the hash of a NAR.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NarHashError {
    /// It is no hash at all.
    #[error(transparent)]
    Malformed(#[from] hash::Error),
    /// It is a hash, but not SHA-256.
    #[error("a NAR is named by its sha256, not by its {0}")]
    Algorithm(HashAlgorithm),
    /// It is not 52 characters of Nix's base32.
    #[error("{0:?} is not a sha256 in Nix's base32")]
    NotNix32(String),
}

impl fmt::Display for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_nix32())
    }
}

impl fmt::Debug for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NarHash {
    type Err = NarHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match NixHash::parse(text)? {
            NixHash::Sha256(digest) => Ok(Self(digest)),
            other => Err(NarHashError::Algorithm(other.algorithm())),
        }
    }
}

impl From<NarHash> for NixHash {
    fn from(hash: NarHash) -> Self {
        Self::Sha256(hash.0)
    }
}

impl Serialize for NarHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NarHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_notation_is_read_back(digest: [u8; 32]) {
            let hash = NarHash(digest);
            let nix = NixHash::from(hash);
            prop_assert_eq!(hash.to_string().parse(), Ok(hash));
            prop_assert_eq!(nix.to_sri_string().parse(), Ok(hash));
            prop_assert_eq!(nix.to_nix_base16_string().parse(), Ok(hash));
            prop_assert_eq!(NarHash::from_nix32(&hash.to_nix32()), Ok(hash));
            prop_assert_eq!(serde_json::from_value::<NarHash>(serde_json::json!(hash)).ok(), Some(hash));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<NarHash>();
            let _ = NarHash::from_nix32(&text);
        }
    }

    #[test]
    fn another_algorithm_is_refused() {
        let sha1 = "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709";
        assert_eq!(sha1.parse::<NarHash>(), Err(NarHashError::Algorithm(HashAlgorithm::Sha1)));
    }
}
