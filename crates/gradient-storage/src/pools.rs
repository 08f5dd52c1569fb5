use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use deadpool::{
    Runtime,
    managed::{PoolError, TimeoutType},
};
use diesel::{ConnectionError, ConnectionResult, SqliteConnection, result::Error as QueryError};
use diesel_async::{
    AsyncConnection, AsyncPgConnection, SimpleAsyncConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{Object, Pool},
    },
};
use futures_util::FutureExt as _;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::{
    Conn, StorageError, StorageSettings,
    conn::{Lite, PostgresConn, SqliteConn},
    leadership::Fence,
    migrations,
    url::Target,
};

/// How busy the connections of a pool are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// Which pool: `postgres`, or SQLite's `writer` and `readers`.
    pub pool: &'static str,
    /// Connections, at most.
    pub limit: usize,
    /// Connections that somebody has.
    pub used: usize,
    /// Callers that wait for one.
    pub waiting: usize,
}

impl PoolUsage {
    fn of(pool: &'static str, status: deadpool::managed::Status) -> Self {
        Self { pool, limit: status.max_size, used: status.size.saturating_sub(status.available), waiting: status.waiting }
    }
}

/// The open connections.
#[derive(Clone)]
pub(crate) enum Pools {
    Postgres { pool: Pool<AsyncPgConnection>, fence: Option<Fence>, wait: Duration },
    Sqlite { writer: Pool<Lite>, readers: Pool<Lite>, wait: Duration },
}

impl Pools {
    /// Opens the database and migrates it.
    pub(crate) async fn open(target: &Target, settings: StorageSettings) -> Result<Self, StorageError> {
        match target {
            Target::Postgres(url) => {
                migrations::postgres(url, false).await?;
                Self::postgres(url, settings, None)
            }
            Target::Sqlite(path) => {
                create_private(path).map_err(StorageError::unavailable)?;
                migrations::sqlite(path, first_sqlite(path).await?).await?;
                let url = sqlite_url(path)?;
                Ok(Self::Sqlite {
                    writer: pool(url, WRITER_SETUP, 1, settings.wait)?,
                    readers: pool(url, READER_SETUP, settings.sqlite_readers, settings.wait)?,
                    wait: settings.wait,
                })
            }
        }
    }

    /// Connections to a PostgreSQL database that is migrated already.
    pub(crate) fn postgres(url: &str, settings: StorageSettings, fence: Option<Fence>) -> Result<Self, StorageError> {
        let pool = pool(url, POSTGRES_SETUP, settings.postgres_connections, settings.wait)?;
        Ok(Self::Postgres { pool, fence, wait: settings.wait })
    }

    pub(crate) fn usage(&self) -> Vec<PoolUsage> {
        match self {
            Self::Postgres { pool, .. } => vec![PoolUsage::of("postgres", pool.status())],
            Self::Sqlite { writer, readers, .. } => {
                vec![PoolUsage::of("writer", writer.status()), PoolUsage::of("readers", readers.status())]
            }
        }
    }

    pub(crate) async fn reader(&self) -> Result<Conn, StorageError> {
        match self {
            Self::Postgres { .. } => self.writer().await,
            Self::Sqlite { readers, wait, .. } => checkout(readers, *wait).await.map(|conn| Conn::Sqlite(SqliteConn(conn))),
        }
    }

    pub(crate) async fn writer(&self) -> Result<Conn, StorageError> {
        match self {
            Self::Postgres { pool, fence, wait } => {
                checkout(pool, *wait).await.map(|conn| Conn::Postgres(PostgresConn(conn, fence.clone())))
            }
            Self::Sqlite { writer, wait, .. } => checkout(writer, *wait).await.map(|conn| Conn::Sqlite(SqliteConn(conn))),
        }
    }
}

/// No statement runs longer, no lock is waited for longer: a caller that gave up must not keep a connection busy.
const POSTGRES_SETUP: &str = "SET statement_timeout = '120s'; SET lock_timeout = '60s'; \
     SET idle_in_transaction_session_timeout = '120s';";

/// The timeout comes first, for the other settings may have to wait for a lock themselves.
const WRITER_SETUP: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -32768;";
const READER_SETUP: &str = "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON; PRAGMA foreign_keys = ON; \
     PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;";

fn pool<C>(url: &str, setup: &'static str, size: usize, wait: Duration) -> Result<Pool<C>, StorageError>
where
    C: AsyncConnection + SimpleAsyncConnection + 'static,
    AsyncDieselConnectionManager<C>: deadpool::managed::Manager<Type = C, Error = diesel_async::pooled_connection::PoolError>,
{
    let mut config = ManagerConfig::default();
    // A connection with an open transaction is discarded all the same.
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |url| establish::<C>(url.to_owned(), setup).boxed());
    Pool::builder(AsyncDieselConnectionManager::new_with_config(url, config))
        .max_size(size.max(1))
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(wait))
        .create_timeout(Some(wait))
        .recycle_timeout(Some(wait))
        .build()
        .map_err(StorageError::unavailable)
}

async fn establish<C: AsyncConnection + SimpleAsyncConnection>(url: String, setup: &'static str) -> ConnectionResult<C> {
    let mut conn = C::establish(&url).await?;
    conn.batch_execute(setup).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

async fn checkout<C>(pool: &Pool<C>, wait: Duration) -> Result<Object<C>, StorageError>
where
    C: AsyncConnection + 'static,
    AsyncDieselConnectionManager<C>: deadpool::managed::Manager<Type = C, Error = diesel_async::pooled_connection::PoolError>,
{
    pool.get().await.map_err(|error| match error {
        PoolError::Timeout(TimeoutType::Wait) => StorageError::timeout(wait),
        error => StorageError::unavailable(error),
    })
}

/// Makes the file, readable by nobody else: it holds hashes of passwords and sealed keys.
///
/// One that is there is not even opened: closing it would end every lock that this process has on it for SQLite.
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().append(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

fn sqlite_url(path: &Path) -> Result<&str, StorageError> {
    path.to_str().ok_or_else(|| StorageError::unavailable("the path of the database is not UTF-8"))
}

/// The connection that migrates. It is also the one that turns a new file into a WAL database, which SQLite refuses at once while
/// anybody else writes, whatever the busy timeout: so it is tried again for that long.
async fn first_sqlite(path: &Path) -> Result<SqliteConnection, StorageError> {
    const WAIT: Duration = Duration::from_secs(10);
    let until = Instant::now() + WAIT;
    loop {
        let path = path.to_owned();
        match spawn_blocking(move || establish_sqlite(&path)).await.map_err(StorageError::unavailable)? {
            Err(StorageError::Database(QueryError::DatabaseError(_, info)))
                if info.message() == "database is locked" && Instant::now() < until =>
            {
                sleep(Duration::from_millis(20)).await;
            }
            established => return established,
        }
    }
}

fn establish_sqlite(path: &Path) -> Result<SqliteConnection, StorageError> {
    use diesel::{Connection as _, connection::SimpleConnection as _};
    let mut conn = SqliteConnection::establish(sqlite_url(path)?).map_err(StorageError::unavailable)?;
    conn.batch_execute(WRITER_SETUP)?;
    Ok(conn)
}
