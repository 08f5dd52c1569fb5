//! The databases that servers are measured on.

use anyhow::Result;
use gradient_test_support::PostgresDatabase;

use crate::test::postgres::Postgres;

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    /// Only this one, or all.
    pub(crate) fn chosen(only: Option<Self>) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |database| only.is_none_or(|only| only == *database))
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// An empty database that goes when it is dropped.
pub(super) struct Throwaway {
    // Before the server that it is on.
    database: Option<PostgresDatabase>,
    _server: Option<Postgres>,
}

impl Throwaway {
    pub(super) fn create(database: Database) -> Result<Self> {
        Self::on(database, Postgres::start)
    }

    /// One that waits for the disk, as those that are relied on do.
    pub(super) fn durable(database: Database) -> Result<Self> {
        Self::on(database, Postgres::start_durable)
    }

    fn on(database: Database, start: impl FnOnce() -> Result<Postgres>) -> Result<Self> {
        let server = (database == Database::Postgres).then(start).transpose()?;
        let database = server.as_ref().map(|server| PostgresDatabase::create(&server.url()));
        Ok(Self { database, _server: server })
    }

    /// Where it is; none for SQLite, which a server makes for itself.
    pub(super) fn url(&self) -> Option<&str> {
        self.database.as_ref().map(PostgresDatabase::url)
    }
}
