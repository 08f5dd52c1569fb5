//! Values that one column keeps, and that are no types of the domain.

use std::{io::Write as _, ops::Deref};

use diesel::{
    backend::Backend,
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    pg::Pg,
    serialize::{self, IsNull, Output, ToSql},
    sql_types::{Binary, Text},
    sqlite::Sqlite,
};
use gradient_nix::{StorePath, StorePathHash};

/// A SHA-256 digest: of a secret, of a compressed file, or a derivation's hash modulo.
#[derive(Clone, Copy, PartialEq, Eq, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = Binary)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Only its beginning: it may be the hash of a secret.
        write!(f, "Digest({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl ToSql<Binary, Pg> for Digest {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&self.0)?;
        Ok(IsNull::No)
    }
}

impl ToSql<Binary, Sqlite> for Digest {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(&self.0[..]);
        Ok(IsNull::No)
    }
}

impl<DB: Backend> FromSql<Binary, DB> for Digest
where
    Vec<u8>: FromSql<Binary, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = Vec::from_sql(value)?;
        bytes.try_into().map(Self).map_err(|bytes: Vec<u8>| format!("a digest of {} bytes, not 32", bytes.len()).into())
    }
}

/// Declares a list that one text column keeps, its items separated by spaces.
macro_rules! spaced {
    ($(#[$meta:meta])* $name:ident, $item:ty) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Default, AsExpression, FromSqlRow)]
        #[diesel(sql_type = Text)]
        pub struct $name(pub Vec<$item>);

        impl From<Vec<$item>> for $name {
            fn from(items: Vec<$item>) -> Self {
                Self(items)
            }
        }

        impl From<$name> for Vec<$item> {
            fn from(list: $name) -> Self {
                list.0
            }
        }

        impl FromIterator<$item> for $name {
            fn from_iter<I: IntoIterator<Item = $item>>(items: I) -> Self {
                Self(items.into_iter().collect())
            }
        }

        impl Deref for $name {
            type Target = [$item];

            fn deref(&self) -> &[$item] {
                &self.0
            }
        }

        impl $name {
            fn text(&self) -> String {
                self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
        }

        impl ToSql<Text, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                out.write_all(self.text().as_bytes())?;
                Ok(IsNull::No)
            }
        }

        impl ToSql<Text, Sqlite> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                out.set_value(self.text());
                Ok(IsNull::No)
            }
        }

        impl<DB: Backend> FromSql<Text, DB> for $name
        where
            String: FromSql<Text, DB>,
        {
            fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
                let text = String::from_sql(value)?;
                let items: Result<Vec<$item>, _> = text.split_ascii_whitespace().map(str::parse).collect();
                Ok(Self(items.map_err(|error| format!("{text:?}: {error}"))?))
            }
        }
    };
}

spaced! {
    /// The store paths that a path refers to.
    PathList, StorePath
}
spaced! {
    /// The system features that a derivation needs. None of them holds a space: in a derivation they are separated by one.
    FeatureList, String
}
spaced! {
    /// Signatures, `name:base64` each. None of them holds a space: it would not fit into a narinfo's line.
    SignatureList, String
}

/// The hash of a store path that a column keeps whole: where there are many of them, and nobody looks at their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromSqlRow)]
#[diesel(sql_type = Text)]
pub struct PathHash(pub StorePathHash);

/// The hashes of a [`PathList`].
#[derive(Debug, Clone, PartialEq, Eq, Default, FromSqlRow)]
#[diesel(sql_type = Text)]
pub struct PathHashList(pub Vec<StorePathHash>);

impl<DB: Backend> FromSql<Text, DB> for PathHash
where
    String: FromSql<Text, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        hash_of(&String::from_sql(value)?).map(Self)
    }
}

impl<DB: Backend> FromSql<Text, DB> for PathHashList
where
    String: FromSql<Text, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let text = String::from_sql(value)?;
        text.split_ascii_whitespace().map(hash_of).collect::<deserialize::Result<_>>().map(Self)
    }
}

fn hash_of(path: &str) -> deserialize::Result<StorePathHash> {
    let hash = path.split('-').next().unwrap_or_default();
    hash.parse().map_err(|error| format!("{path:?}: {error}").into())
}
