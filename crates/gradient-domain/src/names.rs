//! Names that only parse: whoever holds one knows that it obeys its rule.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::BuiltInRole;

/// A text that breaks the rule of the name it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{field}: {rule}")]
pub struct NameError {
    /// Which name it should be.
    pub field: NameField,
    /// What is expected, as a sentence without its subject.
    pub rule: &'static str,
}

/// Which name a [`NameError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameField {
    /// [`OrganizationName`].
    Organization,
    /// [`ProjectName`].
    Project,
    /// [`CacheName`].
    Cache,
    /// [`RoleName`].
    Role,
    /// [`ApiKeyName`].
    ApiKey,
    /// [`DisplayName`].
    DisplayName,
    /// [`Username`].
    Username,
    /// [`Email`].
    Email,
}

impl fmt::Display for NameField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Organization => "organization name",
            Self::Project => "project name",
            Self::Cache => "cache name",
            Self::Role => "role name",
            Self::ApiKey => "API key name",
            Self::DisplayName => "display name",
            Self::Username => "username",
            Self::Email => "email",
        })
    }
}

/// Declares a text newtype that only `rule` lets in: `rule` takes the text and returns what to keep of it, or what is wrong.
/// It expands to the struct, `as_str`, `Display`, `FromStr`, `TryFrom<String>`, serde through it, with the feature `sql` its
/// mapping to the SQL type `Word`, and with the feature `openapi` its schema.
macro_rules! name {
    ($(#[doc = $doc:literal])* $name:ident, $field:ident, $rule:expr) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "sql", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
        #[cfg_attr(feature = "sql", diesel(sql_type = crate::sql::Word))]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let rule: fn(&str) -> Result<&str, &'static str> = $rule;
                rule(text).map(|text| Self(text.to_owned())).map_err(|rule| NameError { field: NameField::$field, rule })
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "sql")]
        crate::sql::word!($name);

        #[cfg(feature = "openapi")]
        crate::openapi::schema!($name, stringify!($name), crate::openapi::name(NameField::$field, &[$($doc),*]));
    };
}

name! {
    /// An organization's name, unique on the server: a slug.
    OrganizationName, Organization, slug
}
name! {
    /// A project's name, unique in its organization: a slug.
    ProjectName, Project, |text| if text == "build-request" { Err(RESERVED) } else { slug(text) }
}
name! {
    /// A cache's name, unique on the server: a slug.
    CacheName, Cache, slug
}
name! {
    /// A role's name: that of a built-in role, or a slug.
    RoleName, Role, |text| if text.parse::<BuiltInRole>().is_ok() { Ok(text) } else { slug(text) }
}
name! {
    /// What a user calls an API key, unique among that user's keys.
    ApiKeyName, ApiKey, display
}
name! {
    /// What people read in place of a name. Kept without surrounding white space.
    DisplayName, DisplayName, display
}
name! {
    /// A user's login name. Two that differ only in case are the same user.
    Username, Username, username
}
name! {
    /// An address that looks like one; whether mail arrives there, only mail can tell.
    Email, Email, email
}

impl From<BuiltInRole> for RoleName {
    fn from(role: BuiltInRole) -> Self {
        Self(role.as_str().to_owned())
    }
}

const RESERVED: &str = "this name is reserved";
const RESERVED_SLUGS: &[&str] = &["available", "public"];
const RESERVED_USERNAMES: &[&str] =
    &["admin", "administrator", "anonymous", "api", "gradient", "guest", "nobody", "null", "root", "system", "undefined"];

fn slug(text: &str) -> Result<&str, &'static str> {
    let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_are_words = bytes.first().copied().is_some_and(word) && bytes.last().copied().is_some_and(word);
    if !ends_are_words || bytes.len() > 64 || !bytes.iter().all(|&c| word(c) || c == b'-') {
        return Err("must be 1 to 64 characters of a-z, 0-9 and `-`, and begin and end with a letter or digit");
    }
    if RESERVED_SLUGS.contains(&text) { Err(RESERVED) } else { Ok(text) }
}

fn display(text: &str) -> Result<&str, &'static str> {
    let text = text.trim();
    let fits = (1..=100).contains(&text.chars().count());
    if fits && text.chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '\'' | '.' | '-' | '_')) {
        Ok(text)
    } else {
        Err("must be 1 to 100 letters, digits, spaces and `'`, `.`, `-`, `_`")
    }
}

fn username(text: &str) -> Result<&str, &'static str> {
    let separator = |c: u8| matches!(c, b'_' | b'-');
    let bytes = text.as_bytes();
    if !(3..=50).contains(&bytes.len()) || !bytes.iter().all(|&c| c.is_ascii_alphanumeric() || separator(c)) {
        return Err("must be 3 to 50 characters of ASCII letters, digits, `_` and `-`");
    }
    let at_the_ends = bytes.first().copied().is_some_and(separator) || bytes.last().copied().is_some_and(separator);
    if at_the_ends || bytes.windows(2).any(|pair| pair.iter().copied().all(separator)) {
        return Err("must not begin or end with `_` or `-`, nor have two of them in a row");
    }
    if RESERVED_USERNAMES.iter().any(|reserved| reserved.eq_ignore_ascii_case(text)) { Err(RESERVED) } else { Ok(text) }
}

fn email(text: &str) -> Result<&str, &'static str> {
    const RULE: &str = "must be an address such as alice@example.com";
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@').ok_or(RULE)?;
    let local_fits = (1..=64).contains(&local.len())
        && local.bytes().all(|c| c.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&c))
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let domain_fits = domain.contains('.') && domain.split('.').all(label);
    if local_fits && domain_fits && text.len() <= 254 { Ok(text) } else { Err(RULE) }
}

#[cfg(test)]
mod tests;
