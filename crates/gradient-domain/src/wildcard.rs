//! Which attributes of a flake a project evaluates.
//!
//! A wildcard is a comma separated list of attribute paths. In a path `*` stands for any name at that level (at the end it also
//! looks one level deeper), `#` for any name that is a derivation, at exactly that level; `"a.b"` quotes a name. A path that
//! begins with `!` leaves one exact attribute out.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

mod parse;
mod select;

pub use select::Attribute;

/// The flake outputs that a pattern may begin with.
const OUTPUTS: &[&str] = &["checks", "packages", "formatter", "legacyPackages", "nixosConfigurations", "devShells", "hydraJobs"];

/// A list of patterns, less the attributes that it leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "sql", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
#[cfg_attr(feature = "sql", diesel(sql_type = crate::sql::Word))]
pub struct Wildcard {
    text: String,
    patterns: Vec<Pattern>,
    left_out: Vec<Vec<String>>,
}

/// One attribute path with its wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    segments: Vec<Segment>,
}

/// One level of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// The attribute of this name.
    Name(String),
    /// `*`: each attribute; at the end of a pattern, its derivations and those one level inside its sets.
    Any,
    /// `#`: each attribute; at the end of a pattern, its derivations only.
    Derivation,
}

/// A text that is no wildcard. Each error but the first two names the pattern it is about.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WildcardError {
    /// More than 8192 bytes or more than 256 patterns.
    #[error("the wildcard is too long: at most 8192 bytes and 256 patterns")]
    TooLong,
    /// Nothing but exclusions.
    #[error("the wildcard only leaves out: it needs a pattern without `!`")]
    OnlyExclusions,
    /// Nothing between two commas, or nothing at all.
    #[error("pattern {position} of the wildcard is empty")]
    EmptyPattern {
        /// Which one, counted from 1.
        position: usize,
    },
    /// Nothing between two dots, or a dot at an end.
    #[error("`{0}`: a name is empty; a pattern must not begin or end with a dot, nor have two in a row")]
    EmptySegment(String),
    /// White space within a pattern.
    #[error("`{0}`: white space within a pattern must be in quotes")]
    WhiteSpace(String),
    /// A quote that does not end, or does not enclose a whole name.
    #[error("`{0}`: quotes must enclose a whole name")]
    Quote(String),
    /// A character that no name has.
    #[error("`{pattern}`: `{character}` must not be in a name")]
    Character {
        /// The pattern.
        pattern: String,
        /// The character.
        character: char,
    },
    /// `*` or `#` in what is left out.
    #[error("`{0}`: what `!` leaves out must be one exact attribute, without wildcards")]
    WildcardInExclusion(String),
    /// The first name is no flake output.
    #[error("`{0}`: a pattern must begin with one of {list}", list = OUTPUTS.join(", "))]
    Output(String),
}

impl Wildcard {
    /// The text it was made from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The patterns, in order; never empty.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// The exact attributes that are left out.
    pub fn left_out(&self) -> &[Vec<String>] {
        &self.left_out
    }

    /// Whether this attribute is left out.
    pub fn leaves_out<S: AsRef<str>>(&self, path: &[S]) -> bool {
        self.left_out.iter().any(|out| out.len() == path.len() && out.iter().zip(path).all(|(a, b)| a == b.as_ref()))
    }
}

impl Pattern {
    /// Its levels, outermost first; never empty, and the first is a name.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The one attribute that it names, when it has no wildcard.
    pub fn exact(&self) -> Option<Vec<&str>> {
        self.segments
            .iter()
            .map(|segment| match segment {
                Segment::Name(name) => Some(name.as_str()),
                Segment::Any | Segment::Derivation => None,
            })
            .collect()
    }
}

/// Writes an attribute path with dots, and quotes around names that need them.
pub fn attribute_path<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| quoted(name.as_ref())).collect::<Vec<_>>().join(".")
}

fn quoted(name: &str) -> String {
    let plain = !name.is_empty()
        && !matches!(name, "*" | "#")
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '\'' | '+' | '/' | '@' | ':'));
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")) }
}

impl FromStr for Wildcard {
    type Err = WildcardError;

    fn from_str(text: &str) -> Result<Self, WildcardError> {
        let text = text.trim();
        let (patterns, left_out) = parse::wildcard(text)?;
        Ok(Self { text: text.to_owned(), patterns, left_out })
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (level, segment) in self.segments.iter().enumerate() {
            if level > 0 {
                f.write_str(".")?;
            }
            match segment {
                Segment::Name(name) => f.write_str(&quoted(name))?,
                Segment::Any => f.write_str("*")?,
                Segment::Derivation => f.write_str("#")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Wildcard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Wildcard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "sql")]
crate::sql::word!(Wildcard);

#[cfg(test)]
mod tests;
