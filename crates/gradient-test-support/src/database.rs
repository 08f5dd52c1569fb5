use std::{future::Future, thread, time::Duration};

use tempfile::TempDir;
use tokio_postgres::NoTls;
use uuid::Uuid;

/// An SQLite file that goes away with this value.
#[derive(Debug)]
pub struct SqliteDatabase {
    url: String,
    _directory: TempDir,
}

impl SqliteDatabase {
    /// The place for a new database; the file is made by whoever opens it.
    ///
    /// # Panics
    ///
    /// When there can be no temporary directory.
    pub fn create() -> Self {
        let directory = TempDir::new().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let url = format!("sqlite:{}", directory.path().join("test.db").display());
        Self { url, _directory: directory }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// A PostgreSQL database that goes away with this value, whoever is still connected, or with its server.
#[derive(Debug)]
pub struct PostgresDatabase {
    server: String,
    name: String,
    url: String,
    goes_with_server: bool,
}

impl PostgresDatabase {
    /// Makes an empty database on the server at this URL.
    ///
    /// # Panics
    ///
    /// When the server does not answer, or does not let this user create databases.
    pub fn create(server: &str) -> Self {
        Self::create_on(server, false)
    }

    /// The same, of which nothing has to be left when the server goes. Removed one by one they would cost the server a checkpoint each,
    /// for which everybody else waits.
    ///
    /// # Panics
    ///
    /// As [`create`](Self::create).
    pub fn create_on_throwaway(server: &str) -> Self {
        Self::create_on(server, true)
    }

    fn create_on(server: &str, goes_with_server: bool) -> Self {
        let name = format!("gradient_test_{}", Uuid::now_v7().simple());
        let database = Self { server: server.to_owned(), url: with_database(server, &name), name, goes_with_server };
        database.on_server(format!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", database.name));
        database
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn on_server(&self, statement: String) {
        let server = self.server.clone();
        blocking(async move {
            let (client, connection) = tokio_postgres::connect(&server, NoTls).await?;
            let connection = tokio::spawn(connection);
            client.batch_execute(&statement).await?;
            drop(client);
            let _ = connection.await;
            Ok(())
        });
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        if self.goes_with_server {
            return;
        }
        self.on_server(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// Puts another database into the URL of a server.
fn with_database(server: &str, name: &str) -> String {
    let (address, parameters) = server.split_once('?').map_or((server, None), |(address, rest)| (address, Some(rest)));
    let after_scheme = address.find("://").map_or(0, |at| at + 3);
    let end = address[after_scheme..].find('/').map_or(address.len(), |at| after_scheme + at);
    let parameters = parameters.map_or_else(String::new, |rest| format!("?{rest}"));
    format!("{}/{name}{parameters}", &address[..end])
}

/// Runs a future to its end on a thread of its own, for a test's own runtime must not be blocked from within.
fn blocking(work: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) {
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(async { tokio::time::timeout(Duration::from_mins(1), work).await });
        outcome.map_err(std::io::Error::other)?.map_err(std::io::Error::other)
    });
    match thread.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => fail(&format!("the test server of PostgreSQL: {error}")),
        Err(_) => fail("the test server of PostgreSQL could not be asked"),
    }
}

/// Fails the test, unless it is failing already: a panic while panicking would hide the first one.
fn fail(message: &str) {
    if thread::panicking() {
        eprintln!("{message}");
    } else {
        panic!("{message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_replaced() {
        let check = |server: &str, expected: &str| assert_eq!(with_database(server, "x"), expected);
        check("postgres://u@%2Ftmp%2Fdir:5433/postgres", "postgres://u@%2Ftmp%2Fdir:5433/x");
        check("postgres://u:p@localhost", "postgres://u:p@localhost/x");
        check("postgresql://localhost/db?connect_timeout=3", "postgresql://localhost/x?connect_timeout=3");
    }

    #[test]
    fn an_sqlite_file_goes_away() {
        let database = SqliteDatabase::create();
        let path = database.url().trim_start_matches("sqlite:").to_owned();
        std::fs::write(&path, "").expect("the directory is there");
        drop(database);
        assert!(!std::path::Path::new(&path).exists());
    }
}
