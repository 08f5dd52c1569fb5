use std::{error::Error, path::PathBuf, time::Duration};

use diesel::result::{DatabaseErrorKind, Error as QueryError};
use thiserror::Error;

/// What can go wrong with the database, as far as a caller can tell it apart.
#[derive(Debug, Error)]
pub enum StorageError {
    /// What has to be there is not there.
    #[error("there is no {what} {key}")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// What it was looked up by.
        key: String,
    },
    /// Something with the same name or content is there already.
    #[error("this {what} exists already")]
    AlreadyExists {
        /// The kind of thing.
        what: &'static str,
    },
    /// A row refers to one that is not there, or one that is still referred to was to be deleted.
    #[error("a reference between rows does not hold")]
    BrokenReference(#[source] QueryError),
    /// A part of a log does not begin where the log ends.
    #[error("the log ends at byte {length}, a part of it begins at {offset}")]
    LogGap {
        /// Bytes that are there.
        length: u64,
        /// Where the refused part begins.
        offset: u64,
    },
    /// The database does not answer, or has no connection free; the same call may work later.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The database was made by a newer version of this program.
    #[error(
        "the database has the migration {found}, which this version does not know (its newest is {known}): \
         it was used by a newer version"
    )]
    NewerSchema {
        /// The newest migration that this program has.
        known: String,
        /// One that the database has.
        found: String,
    },
    /// Another server has taken over; see [`Deposed`](crate::Deposed).
    #[error("another server leads on this database by now: this one may write nothing more")]
    Fenced,
    /// The database is an SQLite file that another server has.
    #[error("another server uses this database and holds {}: only one can", .0.display())]
    InUse(PathBuf),
    /// The database would have to be migrated under a server that knows its older form.
    #[error("the database has to be migrated, but a server leads on it that knows only its older form: stop that one first")]
    Led,
    /// A migration failed; what it did is undone.
    #[error("the database could not be migrated")]
    Migration(#[source] Box<dyn Error + Send + Sync>),
    /// The database refused a query, or answered what cannot be read.
    #[error("a query failed")]
    Database(#[source] QueryError),
}

impl StorageError {
    pub(crate) fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    pub(crate) fn timeout(wait: Duration) -> Self {
        Self::unavailable(format!("no connection became free within {} s", wait.as_secs()))
    }
}

impl From<QueryError> for StorageError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Self::AlreadyExists { what: "row" },
            QueryError::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _) => Self::BrokenReference(error),
            QueryError::DatabaseError(DatabaseErrorKind::ClosedConnection, _) => Self::unavailable(error),
            error => Self::Database(error),
        }
    }
}

/// Names what it is that already exists, where a query can tell.
pub(crate) fn naming(what: &'static str) -> impl Fn(QueryError) -> StorageError {
    move |error| match StorageError::from(error) {
        StorageError::AlreadyExists { .. } => StorageError::AlreadyExists { what },
        other => other,
    }
}

/// Turns a look-up into one that has to hit.
#[allow(clippy::needless_pass_by_value, reason = "ids are given as they are, names by reference")]
pub(crate) fn found<T>(row: Option<T>, what: &'static str, key: impl ToString) -> Result<T, StorageError> {
    row.ok_or_else(|| StorageError::NotFound { what, key: key.to_string() })
}

/// Turns the count of changed rows of an update or delete that has to hit into its outcome.
#[allow(clippy::needless_pass_by_value, reason = "ids are given as they are, names by reference")]
pub(crate) fn hit(rows: usize, what: &'static str, key: impl ToString) -> Result<(), StorageError> {
    if rows == 0 { Err(StorageError::NotFound { what, key: key.to_string() }) } else { Ok(()) }
}
