//! What happens to a database that is there already.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use gradient_storage::{Conn, DatabaseUrl, Storage, StorageError, StorageSettings, settings};

use crate::fixtures::*;

gradient_test_support::both_databases!(runs_once, several_servers_migrate_in_turn);

async fn runs_once(url: &str) {
    let first = open(url).await;
    first.write(async |conn: &mut Conn| settings::insert_once(conn, "a", "1").await).await.unwrap();
    drop(first);
    let second = open(url).await;
    assert_eq!(second.read(async |conn: &mut Conn| settings::lookup(conn, "a").await).await.unwrap().as_deref(), Some("1"));
}

async fn several_servers_migrate_in_turn(url: &str) {
    let url: DatabaseUrl = url.parse().unwrap();
    let connect = || Storage::connect(&url, StorageSettings::default());
    let (a, b, c) = soon(async { tokio::join!(connect(), connect(), connect()) }).await;
    for storage in [a, b, c] {
        storage.unwrap().ping().await.unwrap();
    }
}

/// The lines of `/proc/locks` that are this process's, on this file.
fn locks(path: &Path) -> usize {
    let (process, inode) = (format!(" {} ", std::process::id()), std::fs::metadata(path).unwrap().ino());
    let of_file = |line: &&str| line.contains(&process) && line.contains(&format!(":{inode} "));
    std::fs::read_to_string("/proc/locks").unwrap().lines().filter(of_file).count()
}

/// POSIX locks are a process's: to close a file ends them all, and SQLite then believes that nobody has the database open.
#[tokio::test]
async fn connecting_again_keeps_the_locks_of_those_who_are_connected() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gradient.db");
    let url = DatabaseUrl::sqlite(&path);
    let first = Storage::connect(&url, StorageSettings::default()).await.unwrap();
    first.ping().await.unwrap();
    assert_ne!(locks(&path), 0);
    let second = Storage::connect(&url, StorageSettings::default()).await.unwrap();
    assert_ne!(locks(&path), 0);
    drop((first, second));
}

#[tokio::test]
async fn a_new_file_that_somebody_writes_to_is_waited_for() {
    use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gradient.db");
    let mut writer = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    writer.batch_execute("CREATE TABLE a (b); BEGIN IMMEDIATE;").unwrap();
    let url = DatabaseUrl::sqlite(&path);
    let mut connecting = std::pin::pin!(Storage::connect(&url, StorageSettings::default()));
    let waited = tokio::time::timeout(Duration::from_millis(200), &mut connecting).await;
    assert!(waited.is_err(), "expected to wait, got {waited:?}");
    drop(writer);
    soon(connecting).await.unwrap().ping().await.unwrap();
}

/// Does something to an SQLite file behind the storage's back.
fn execute(path: &Path, sql: &str) {
    use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
    SqliteConnection::establish(path.to_str().unwrap()).unwrap().batch_execute(sql).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gradient.db");
    let url = DatabaseUrl::sqlite(&path);
    drop(Storage::connect(&url, StorageSettings::default()).await.unwrap());
    execute(&path, "INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000000')");
    match Storage::connect(&url, StorageSettings::default()).await {
        Err(StorageError::NewerSchema { found, .. }) => assert_eq!(found, "29991231000000"),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn a_new_file_is_private_and_has_no_copy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gradient.db");
    drop(Storage::connect(&DatabaseUrl::sqlite(&path), StorageSettings::default()).await.unwrap());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the file holds hashes of passwords");
    let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().contains("before")).count(), 0);
}
