//! Closed sets of words: one enum, its spelling in JSON and in the database, and the way back.

use thiserror::Error;

/// A word that is not in the vocabulary it was looked up in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{word}` is not a {vocabulary}; expected one of {expected}")]
pub struct UnknownWord {
    /// The enum's name, in words.
    pub vocabulary: &'static str,
    /// What was given.
    pub word: String,
    /// The words there are, comma separated.
    pub expected: String,
}

/// Declares an enum whose variants are words.
///
/// `vocabulary! { /// Doc. pub enum Mode: "mode" { /// Doc. ReadWrite = "read_write" } }` expands to the enum with `ALL`,
/// `as_str`, `Display`, `FromStr<Err = UnknownWord>`, serde by the word, with the feature `sql` its mapping to the SQL type
/// `Word`, and with the feature `openapi` its schema.
macro_rules! vocabulary {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident: $title:literal { $($(#[doc = $vdoc:literal])* $variant:ident = $word:literal),+ $(,)? }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "sql", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
        #[cfg_attr(feature = "sql", diesel(sql_type = $crate::sql::Word))]
        pub enum $name { $($(#[doc = $vdoc])* $variant),+ }

        impl $name {
            /// Every word, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word itself.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word).ok_or_else(|| $crate::UnknownWord {
                    vocabulary: $title,
                    word: word.chars().take(100).collect(),
                    expected: Self::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "sql")]
        $crate::sql::word!($name);

        #[cfg(feature = "openapi")]
        $crate::openapi::schema!($name, stringify!($name), $crate::openapi::words(&[$($doc),*], &[$(($word, &[$($vdoc),*])),+]));
    };
}

pub(crate) use vocabulary;
