use std::{fmt, str::FromStr};

use gradient_nix::nar::MAX_NAME_BYTES;
use thiserror::Error;

/// How many names a path may have: NAR's own bound of depth, the root included.
const MAX_DEPTH: usize = 64;

/// How long a path may be in bytes: what Linux can open.
const MAX_BYTES: usize = 4095;

/// Where a file is in a source tree: names separated by slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePath(String);

/// A text that is no path in a source tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SourcePathError {
    /// Nothing.
    #[error("the path is empty")]
    Empty,
    /// It begins at the root of a file system.
    #[error("the path must be relative, without a slash at its beginning")]
    Absolute,
    /// A name that is none: two slashes in a row, one at the end, `.` or `..`.
    #[error("the path must have no empty name, no `.` and no `..` in it")]
    Name,
    /// A NUL, which no file system has in names.
    #[error("the path must have no NUL in it")]
    Nul,
    /// Longer or deeper than a store path can hold.
    #[error("the path is too long: at most {MAX_BYTES} bytes, {MAX_DEPTH} names and {MAX_NAME_BYTES} bytes a name")]
    TooLong,
}

impl SourcePath {
    /// The names, outermost first.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for SourcePath {
    type Err = SourcePathError;

    fn from_str(text: &str) -> Result<Self, SourcePathError> {
        if text.is_empty() {
            return Err(SourcePathError::Empty);
        }
        if text.starts_with('/') {
            return Err(SourcePathError::Absolute);
        }
        if text.contains('\0') {
            return Err(SourcePathError::Nul);
        }
        if text.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err(SourcePathError::Name);
        }
        let is_long = text.split('/').any(|name| name.len() > MAX_NAME_BYTES) || text.split('/').count() > MAX_DEPTH;
        if is_long || text.len() > MAX_BYTES {
            return Err(SourcePathError::TooLong);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside() {
        for good in ["flake.nix", "a/b/c", ".git", "...", "a b/\u{fc}\n", &["d"; MAX_DEPTH].join("/")] {
            assert_eq!(good.parse::<SourcePath>().unwrap().to_string(), good);
        }
        let long = "n".repeat(MAX_NAME_BYTES + 1);
        let deep = ["d"; MAX_DEPTH + 1].join("/");
        let both = vec!["n".repeat(MAX_NAME_BYTES); 17].join("/");
        for (bad, expected) in [
            ("", SourcePathError::Empty),
            ("/flake.nix", SourcePathError::Absolute),
            ("..", SourcePathError::Name),
            ("a/../b", SourcePathError::Name),
            ("./a", SourcePathError::Name),
            ("a//b", SourcePathError::Name),
            ("a/", SourcePathError::Name),
            ("a\0b", SourcePathError::Nul),
            (&long, SourcePathError::TooLong),
            (&deep, SourcePathError::TooLong),
            (&both, SourcePathError::TooLong),
        ] {
            assert_eq!(bad.parse::<SourcePath>(), Err(expected), "{bad:?}");
        }
    }
}
