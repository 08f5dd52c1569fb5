use std::fmt;
use std::str::FromStr;

use nix_derivation::{nixbase32, store_path};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The directory of all store paths.
pub const STORE_DIR: &str = store_path::STORE_DIR;

/// Why a text is not a store path.
pub type StorePathError = store_path::Error;

/// A path in `/nix/store`. Shown, parsed and serialised as its basename, `<hash>-<name>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "sql", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
#[cfg_attr(feature = "sql", diesel(sql_type = diesel::sql_types::Text))]
pub struct StorePath(store_path::StorePath);

impl StorePath {
    /// Reads `/nix/store/<hash>-<name>`, without anything behind it.
    pub fn from_absolute(path: &str) -> Result<Self, StorePathError> {
        store_path::StorePath::from_absolute_path(path.as_bytes()).map(Self)
    }

    /// The whole path, `/nix/store/<hash>-<name>`.
    pub fn to_absolute(&self) -> String {
        self.0.to_absolute_path()
    }

    /// What identifies the path: the part before the first dash.
    pub fn hash(&self) -> StorePathHash {
        StorePathHash(*self.0.digest())
    }

    /// The part behind the hash.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Whether the name ends in `.drv`.
    pub fn is_derivation(&self) -> bool {
        self.0.is_derivation()
    }

    /// The same path as the format crates know it.
    pub fn as_inner(&self) -> &store_path::StorePath {
        &self.0
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_basename())
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StorePath {
    type Err = StorePathError;

    fn from_str(basename: &str) -> Result<Self, Self::Err> {
        store_path::StorePath::from_basename(basename.as_bytes()).map(Self)
    }
}

impl From<store_path::StorePath> for StorePath {
    fn from(path: store_path::StorePath) -> Self {
        Self(path)
    }
}

impl From<StorePath> for store_path::StorePath {
    fn from(path: StorePath) -> Self {
        path.0
    }
}

impl Serialize for StorePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StorePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer)
    }
}

/// The 32 characters of Nix's base32 that begin a store path: what a narinfo is asked by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "sql", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
#[cfg_attr(feature = "sql", diesel(sql_type = diesel::sql_types::Text))]
pub struct StorePathHash([u8; store_path::DIGEST_LEN]);

impl StorePathHash {
    /// What these 20 bytes are written as.
    pub const fn from_bytes(bytes: [u8; store_path::DIGEST_LEN]) -> Self {
        Self(bytes)
    }

    /// The 20 bytes that the characters stand for.
    pub fn as_bytes(&self) -> &[u8; store_path::DIGEST_LEN] {
        &self.0
    }
}

impl fmt::Display for StorePathHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&nixbase32::encode(&self.0))
    }
}

impl fmt::Debug for StorePathHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StorePathHash {
    type Err = nixbase32::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digest = nixbase32::decode(text.as_bytes())?;
        <[u8; store_path::DIGEST_LEN]>::try_from(digest.as_slice())
            .map(Self)
            .map_err(|_| nixbase32::Error::InvalidLength(text.len()))
    }
}

impl Serialize for StorePathHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StorePathHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer)
    }
}

/// Reads a value through its `FromStr`, borrowed or owned.
pub(crate) fn deserialize_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct Text<T>(std::marker::PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(std::marker::PhantomData))
}

#[cfg(test)]
mod tests;
