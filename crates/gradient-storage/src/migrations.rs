use std::path::{Path, PathBuf};

use diesel::{
    RunQueryDsl as _, SqliteConnection,
    backend::Backend,
    migration::{Migration, MigrationSource, MigrationVersion},
    sqlite::Sqlite,
};
use diesel_async::{AsyncConnection as _, AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::{runtime::Handle, task::spawn_blocking};

use crate::{StorageError, leadership, pools::create_private};

const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// The advisory lock of servers that migrate; an arbitrary number that only has to stay the same.
const POSTGRES_LOCK: &str = "SET lock_timeout = '300s'; SELECT pg_advisory_lock(7809353297153);";

/// Brings a PostgreSQL database up to date, one program at a time, and under no other server than this one.
pub(crate) async fn postgres(url: &str, leads: bool) -> Result<(), StorageError> {
    let mut conn = AsyncPgConnection::establish(url).await.map_err(StorageError::unavailable)?;
    conn.batch_execute(POSTGRES_LOCK).await?;
    // The harness blocks. The locks go with the connection.
    spawn_blocking(move || {
        let mut harness = AsyncMigrationHarness::new(conn);
        let pending = pending(&mut harness, &POSTGRES)?;
        if !leads && !pending.is_empty() {
            let mut conn = harness.into_inner();
            if !Handle::current().block_on(leadership::try_lock(&mut conn))? {
                return Err(StorageError::Led);
            }
            harness = AsyncMigrationHarness::new(conn);
        }
        run(&mut harness, &pending)
    })
    .await
    .map_err(StorageError::unavailable)?
}

/// Brings an SQLite file up to date. What it held before is kept beside it, as `<file>.before-<migration>`.
pub(crate) async fn sqlite(path: &Path, mut conn: SqliteConnection) -> Result<(), StorageError> {
    let path = path.to_owned();
    spawn_blocking(move || migrate(&path, &mut conn, &SQLITE)).await.map_err(StorageError::unavailable)?
}

fn migrate(path: &Path, conn: &mut SqliteConnection, source: &impl MigrationSource<Sqlite>) -> Result<(), StorageError> {
    let pending_now = pending(conn, source)?;
    let Some(first) = pending_now.first() else { return Ok(()) };
    if !applied(conn)?.is_empty() {
        copy(conn, path, &first.name().version().to_string())?;
    }
    conn.immediate_transaction(|conn| {
        // Asked again under the lock: two processes must not migrate the same file.
        let pending = pending(conn, source)?;
        run(conn, &pending)
    })
}

fn copy(conn: &mut SqliteConnection, path: &Path, migration: &str) -> Result<(), StorageError> {
    let copy = beside(path, &format!("before-{migration}"));
    let part = beside(path, &format!("before-{migration}.part"));
    // Left over from a copy that did not end; SQLite does not overwrite.
    let _ = std::fs::remove_file(&part);
    create_private(&part).map_err(failed)?;
    diesel::sql_query("VACUUM INTO ?")
        .bind::<diesel::sql_types::Text, _>(part.to_string_lossy())
        .execute(conn)
        .map_err(failed)?;
    std::fs::rename(&part, &copy).map_err(failed)?;
    tracing::info!(copy = %copy.display(), "copied the database before migrating it");
    Ok(())
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StorageError {
    StorageError::Migration(Box::new(error))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn applied<DB: Backend>(harness: &mut impl MigrationHarness<DB>) -> Result<Vec<MigrationVersion<'static>>, StorageError> {
    harness.applied_migrations().map_err(StorageError::Migration)
}

type Migrations<DB> = Vec<Box<dyn Migration<DB>>>;

/// What has to run, in order; refuses a database that knows more than this program.
fn pending<DB: Backend>(
    harness: &mut impl MigrationHarness<DB>,
    source: &impl MigrationSource<DB>,
) -> Result<Migrations<DB>, StorageError> {
    let mut known = source.migrations().map_err(StorageError::Migration)?;
    known.sort_by(|a, b| a.name().version().cmp(&b.name().version()));
    let applied = applied(harness)?;
    let is_known = |version: &MigrationVersion<'_>| known.iter().any(|migration| migration.name().version() == *version);
    if let Some(found) = applied.iter().find(|version| !is_known(version)) {
        let newest = known.last().map(|migration| migration.name().version().to_string());
        return Err(StorageError::NewerSchema { known: newest.unwrap_or_default(), found: found.to_string() });
    }
    known.retain(|migration| !applied.contains(&migration.name().version().as_owned()));
    Ok(known)
}

fn run<DB: Backend>(harness: &mut impl MigrationHarness<DB>, migrations: &Migrations<DB>) -> Result<(), StorageError> {
    for migration in migrations {
        harness.run_migration(migration).map_err(StorageError::Migration)?;
        tracing::info!(migration = %migration.name(), "migrated the database");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
