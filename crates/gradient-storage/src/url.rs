use std::{fmt, path::Path, path::PathBuf, str::FromStr};

use thiserror::Error;

/// Which database to use.
///
/// ```
/// use gradient_storage::DatabaseUrl;
///
/// let url: DatabaseUrl = "sqlite:/var/lib/gradient/gradient.db".parse()?;
/// assert_eq!(url.sqlite_path(), Some("/var/lib/gradient/gradient.db".as_ref()));
///
/// let url: DatabaseUrl = "postgres://gradient:secret@db.example.com/gradient".parse()?;
/// assert!(!format!("{url:?}").contains("secret"));
///
/// let error = "gradient.db".parse::<DatabaseUrl>().unwrap_err();
/// assert!(error.to_string().contains("sqlite:<path>"));
/// # Ok::<(), gradient_storage::DatabaseUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Target);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Postgres(String),
    Sqlite(PathBuf),
}

/// A text that names no database. It does not repeat the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no database URL: expected sqlite:<path> or postgres://<user>@<host>/<database>")]
pub struct DatabaseUrlError;

impl DatabaseUrl {
    /// The SQLite database in this file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Target::Sqlite(path.into()))
    }

    /// The file, when it is SQLite.
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.0 {
            Target::Sqlite(path) => Some(path),
            Target::Postgres(_) => None,
        }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.0
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            // A name with a colon in front would be one of SQLite's own: in memory, and so another one for each connection.
            if path.is_empty() || path.starts_with(':') || path.contains('\0') {
                return Err(DatabaseUrlError);
            }
            return Ok(Self::sqlite(path));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self(Target::Postgres(text.to_owned())));
        }
        Err(DatabaseUrlError)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without the user and the password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Target::Postgres(url) => {
                let rest = url.split_once("://").map_or("", |(_, rest)| rest);
                let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                write!(f, "postgres://{}", host.split('?').next().unwrap_or_default())
            }
        }
    }
}
