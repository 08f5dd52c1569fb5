use std::{sync::Arc, time::Duration};

use tokio::runtime::{Builder, Runtime};

use crate::{
    Conn, DatabaseUrl, StorageError,
    conn::AsyncTask,
    conn::query,
    pools::{PoolUsage, Pools},
};

/// How many connections to keep, and how long to wait for one.
#[derive(Debug, Clone, Copy)]
pub struct StorageSettings {
    /// Connections to a PostgreSQL server, at most.
    pub postgres_connections: usize,
    /// Connections that read an SQLite file, at most; there is always exactly one that writes.
    pub sqlite_readers: usize,
    /// How long a call waits for a free connection before it is `Unavailable`.
    pub wait: Duration,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self { postgres_connections: 16, sqlite_readers: 4, wait: Duration::from_secs(30) }
    }
}

/// The database. Clones share it.
///
/// Each call runs as a task on a multi-thread runtime that belongs to the storage, whatever runtime the caller is on. Dropping a
/// call does not cancel it: a query that is cancelled half-way on a current-thread runtime would take its connection with it.
/// That is why closures are `Send + 'static`: give them what they need with `async move |conn: &mut Conn| …`.
///
/// [`read`](Self::read), [`write`](Self::write) and [`transaction`](Self::transaction) fail with [`StorageError`];
/// [`try_transaction`](Self::try_transaction) is for closures with an error of their own.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    pools: Pools,
}

impl Storage {
    /// Opens the database, makes its file when there is none, and migrates it. An existing SQLite file is copied beside itself
    /// before it is migrated; on PostgreSQL an advisory lock lets one server migrate at a time.
    pub async fn connect(url: &DatabaseUrl, settings: StorageSettings) -> Result<Self, StorageError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("gradient-storage")
            .enable_all()
            .build()
            .map_err(StorageError::unavailable)?;
        let target = url.target().clone();
        let pools = runtime.spawn(async move { Pools::open(&target, settings).await });
        match pools.await {
            Ok(Ok(pools)) => Ok(Self(Arc::new(Inner { runtime: Some(runtime), pools }))),
            failed => {
                runtime.shutdown_background();
                Err(failed.map_or_else(StorageError::unavailable, |pools| match pools {
                    Err(error) => error,
                    Ok(_) => StorageError::unavailable("the storage is shutting down"),
                }))
            }
        }
    }

    /// Runs `f` with a connection to read with. Two queries in it may see two states of the database.
    pub async fn read<R, F>(&self, f: F) -> Result<R, StorageError>
    where
        for<'r> F: AsyncFnOnce(&'r mut Conn) -> Result<R, StorageError>
            + AsyncTask<&'r mut Conn, Result<R, StorageError>, Running: Send>
            + Send
            + 'static,
        R: Send + 'static,
    {
        let pools = self.0.pools.clone();
        self.run(async move {
            let mut conn = pools.reader().await?;
            f(&mut conn).await
        })
        .await
    }

    /// Runs `f` with a connection to write with, each statement its own transaction.
    pub async fn write<R, F>(&self, f: F) -> Result<R, StorageError>
    where
        for<'r> F: AsyncFnOnce(&'r mut Conn) -> Result<R, StorageError>
            + AsyncTask<&'r mut Conn, Result<R, StorageError>, Running: Send>
            + Send
            + 'static,
        R: Send + 'static,
    {
        let pools = self.0.pools.clone();
        self.run(async move {
            let mut conn = pools.writer().await?;
            f(&mut conn).await
        })
        .await
    }

    /// Runs `f` in a transaction: all of it happens, or, when it fails, none.
    pub async fn transaction<R, F>(&self, f: F) -> Result<R, StorageError>
    where
        for<'r> F: AsyncFnOnce(&'r mut Conn) -> Result<R, StorageError>
            + AsyncTask<&'r mut Conn, Result<R, StorageError>, Running: Send>
            + Send
            + 'static,
        R: Send + 'static,
    {
        self.try_transaction(f).await
    }

    /// As [`transaction`](Self::transaction), for a closure with an error of its own.
    pub async fn try_transaction<R, E, F>(&self, f: F) -> Result<R, E>
    where
        for<'r> F:
            AsyncFnOnce(&'r mut Conn) -> Result<R, E> + AsyncTask<&'r mut Conn, Result<R, E>, Running: Send> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let pools = self.0.pools.clone();
        self.run(async move {
            let mut conn = pools.writer().await?;
            conn.transaction(f).await
        })
        .await
    }

    /// How busy its connections are.
    pub fn usage(&self) -> Vec<PoolUsage> {
        self.0.pools.usage()
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StorageError> {
        use diesel_async::RunQueryDsl as _;
        self.read(async |conn: &mut Conn| {
            query!(conn, |c| diesel::sql_query("SELECT 1").execute(c).await?);
            Ok(())
        })
        .await
    }

    async fn run<R, E>(&self, call: impl Future<Output = Result<R, E>> + Send + 'static) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let Some(runtime) = &self.0.runtime else {
            return Err(StorageError::unavailable("the storage is shutting down").into());
        };
        match runtime.spawn(call).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => Err(StorageError::unavailable(cancelled).into()),
            },
        }
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Dropping a runtime waits for it, which panics where the last clone is dropped by async code.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
