use std::fs;

use diesel::{Connection as _, QueryDsl as _, connection::SimpleConnection as _};
use diesel_migrations::FileBasedMigrations;
use tempfile::TempDir;

use super::*;

diesel::table! {
    things (id) {
        id -> Integer,
    }
}

/// A file with the first of several migrations.
struct Database {
    directory: TempDir,
    conn: SqliteConnection,
}

impl Database {
    fn with_one_migration() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.db");
        let conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        let mut database = Self { directory, conn };
        database.add("2001-01-01-000000_first", "CREATE TABLE things (id INTEGER PRIMARY KEY); INSERT INTO things VALUES (1);");
        database.migrate().unwrap();
        assert!(database.copies().is_empty(), "there was nothing to copy");
        database
    }

    fn add(&self, name: &str, sql: &str) {
        let folder = self.directory.path().join("migrations").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("up.sql"), sql).unwrap();
        fs::write(folder.join("down.sql"), "").unwrap();
    }

    fn migrate(&mut self) -> Result<(), StorageError> {
        let source = FileBasedMigrations::from_path(self.directory.path().join("migrations")).unwrap();
        migrate(&self.directory.path().join("test.db"), &mut self.conn, &source)
    }

    fn copies(&self) -> Vec<String> {
        let names = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).filter(|name| name.contains("before")).collect();
        names.sort();
        names
    }
}

fn things(conn: &mut SqliteConnection) -> Vec<i32> {
    things::table.select(things::id).order(things::id).load(conn).unwrap()
}

#[test]
fn an_existing_file_is_copied_before_it_is_migrated() {
    let mut database = Database::with_one_migration();
    database.add("2002-01-01-000000_second", "INSERT INTO things VALUES (2);");
    database.migrate().unwrap();
    assert_eq!(things(&mut database.conn), [1, 2]);
    assert_eq!(database.copies(), ["test.db.before-20020101000000"]);
    let copy = database.directory.path().join("test.db.before-20020101000000");
    let mut copy = SqliteConnection::establish(copy.to_str().unwrap()).unwrap();
    assert_eq!(things(&mut copy), [1]);
    database.migrate().unwrap();
    assert_eq!(things(&mut database.conn), [1, 2]);
}

#[test]
fn a_migration_that_fails_leaves_nothing_behind() {
    let mut database = Database::with_one_migration();
    database.add("2002-01-01-000000_second", "INSERT INTO things VALUES (2);");
    database.add("2003-01-01-000000_broken", "INSERT INTO things VALUES (3); INSERT INTO nowhere VALUES (1);");
    assert!(matches!(database.migrate(), Err(StorageError::Migration(_))));
    assert_eq!(things(&mut database.conn), [1], "all that is pending happens together");
    database.add("2003-01-01-000000_broken", "INSERT INTO things VALUES (3);");
    database.migrate().unwrap();
    assert_eq!(things(&mut database.conn), [1, 2, 3]);
}

#[test]
fn a_migration_that_is_not_known_is_refused() {
    let mut database = Database::with_one_migration();
    database.conn.batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')").unwrap();
    match database.migrate() {
        Err(StorageError::NewerSchema { known, found }) => {
            assert_eq!((known.as_str(), found.as_str()), ("20010101000000", "20990101000000"));
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}
