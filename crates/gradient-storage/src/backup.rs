//! A copy of an SQLite database, made while it is in use.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use diesel::{
    Connection as _, RunQueryDsl as _, SqliteConnection, connection::SimpleConnection as _, sql_query, sql_types::Text,
};
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::{DatabaseUrl, StorageError, pools::create_private, url::Target};

/// Why there is no copy.
#[derive(Debug, Error)]
pub enum BackupError {
    /// PostgreSQL has tools of its own for that.
    #[error("a PostgreSQL database is not copied: use pg_dump")]
    Postgres,
    /// There is nothing to copy.
    #[error("there is no database {}", .0.display())]
    Missing(PathBuf),
    /// There is something where the copy was to be.
    #[error("{} is there already; a backup overwrites nothing", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database cannot be read.
    #[error("the database could not be copied")]
    Database(#[source] StorageError),
}

/// Copies an SQLite database into a new file that only its owner may read: the state of one moment, whoever writes meanwhile.
/// The database is not migrated. When it fails, nothing is left at `to`.
pub async fn backup(database: &DatabaseUrl, to: &Path) -> Result<(), BackupError> {
    let Target::Sqlite(from) = database.target() else { return Err(BackupError::Postgres) };
    let (from, to) = (from.clone(), to.to_owned());
    spawn_blocking(move || copy(&from, &to)).await.map_err(|error| BackupError::Database(StorageError::unavailable(error)))?
}

fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    if !from.is_file() {
        return Err(BackupError::Missing(from.to_owned()));
    }
    // Holds the name until the whole copy takes its place.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => BackupError::Exists(to.to_owned()),
        _ => BackupError::Write { path: to.to_owned(), source },
    })?;
    let part = to.with_added_extension("part");
    let copied = copy_to(from, &part).and_then(|()| put(&part, to));
    if copied.is_err() {
        // What is wrong is told already.
        let _ = fs::remove_file(&part);
        let _ = fs::remove_file(to);
    }
    copied
}

fn copy_to(from: &Path, part: &Path) -> Result<(), BackupError> {
    // Left over from a copy that did not end; SQLite does not overwrite.
    let _ = fs::remove_file(part);
    create_private(part).map_err(|source| BackupError::Write { path: part.to_owned(), source })?;
    let database = |error: StorageError| BackupError::Database(error);
    let mut conn = SqliteConnection::establish(text(from)?).map_err(|error| database(StorageError::unavailable(error)))?;
    conn.batch_execute("PRAGMA busy_timeout = 10000;").map_err(|error| database(error.into()))?;
    // An absolute path is no `file:` URI.
    let absolute = std::path::absolute(part).map_err(|source| BackupError::Write { path: part.to_owned(), source })?;
    let vacuum = sql_query("VACUUM INTO ?").bind::<Text, _>(text(&absolute)?);
    vacuum.execute(&mut conn).map(drop).map_err(|error| database(error.into()))
}

fn put(part: &Path, to: &Path) -> Result<(), BackupError> {
    let put = || {
        File::open(part)?.sync_all()?;
        fs::rename(part, to)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    put().map_err(|source| BackupError::Write { path: to.to_owned(), source })
}

fn text(path: &Path) -> Result<&str, BackupError> {
    path.to_str().ok_or_else(|| BackupError::Database(StorageError::unavailable("a path is not UTF-8")))
}
