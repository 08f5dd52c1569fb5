use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{JoinError, JoinHandle, spawn_blocking},
};

use crate::{
    Conn, DatabaseUrl, Deposed, StorageError,
    conn::AsyncTask,
    conn::query,
    group::Group,
    leadership::{self, Leadership},
    pools::{PoolUsage, Pools},
    url::Target,
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
/// Each call runs as a task on a multi-thread runtime that belongs to the storage, whatever runtime the caller is on, and on SQLite
/// on a thread of its own: there its statements block. Dropping a call does not cancel it: a query that is cancelled half-way on a
/// current-thread runtime would take its connection with it.
/// That is why closures are `Send + 'static`: give them what they need with `async move |conn: &mut Conn| …`.
///
/// [`read`](Self::read), [`write`](Self::write) and [`transaction`](Self::transaction) fail with [`StorageError`];
/// [`try_transaction`](Self::try_transaction) is for closures with an error of their own.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    threads: Threads,
    pools: Pools,
    group: Group,
    /// What makes this process the one that leads, when it does.
    leadership: Option<Leadership>,
}

impl Storage {
    /// Opens the database, makes its file when there is none, and migrates it. An existing SQLite file is copied beside itself
    /// before it is migrated; on PostgreSQL advisory locks let one program migrate at a time, and none under a server that leads.
    ///
    /// Nothing else follows from a server that leads: this is for what is done on the side while it runs.
    pub async fn connect(url: &DatabaseUrl, settings: StorageSettings) -> Result<Self, StorageError> {
        let target = url.target().clone();
        // Boxed, as it is large, and whoever waits for it would carry it along.
        Self::open(Box::pin(async move { Ok((Pools::open(&target, settings).await?, None)) })).await
    }

    /// Opens and migrates the database as the server that leads on it, with a name that others are told. On PostgreSQL it waits
    /// until no other one leads, and `waiting` is told who does, as often as that changes; an SQLite file that another server has
    /// is [`InUse`](StorageError::InUse).
    ///
    /// When it does not lead any more, all writes fail with [`Fenced`](StorageError::Fenced).
    pub async fn lead(
        url: &DatabaseUrl,
        settings: StorageSettings,
        name: &str,
        waiting: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, StorageError> {
        let (target, name) = (url.target().clone(), name.to_owned());
        Self::open(Box::pin(async move {
            match &target {
                Target::Postgres(url) => {
                    let (pools, leadership) = leadership::postgres(url, settings, &name, waiting).await?;
                    Ok((pools, Some(leadership)))
                }
                Target::Sqlite(path) => {
                    let leadership = leadership::sqlite(path)?;
                    Ok((Pools::open(&target, settings).await?, Some(leadership)))
                }
            }
        }))
        .await
    }

    async fn open(
        opening: impl Future<Output = Result<(Pools, Option<Leadership>), StorageError>> + Send + 'static,
    ) -> Result<Self, StorageError> {
        let threads = Threads::start()?;
        let (pools, leadership) = threads.spawn(opening).await.map_err(StorageError::unavailable)??;
        let (group, grouping) = Group::new(pools.clone());
        threads.spawn(grouping);
        Ok(Self(Arc::new(Inner { threads, pools, group, leadership })))
    }

    /// Ends when this process led and does not any more: it is to end then.
    pub async fn deposed(&self) -> Deposed {
        match &self.0.leadership {
            Some(leadership) => leadership.deposed().await,
            None => std::future::pending().await,
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
        self.run(async move { pools.reader().await }, |conn| Box::pin(async move { f(conn).await })).await
    }

    /// Runs `f` with a connection to write with, each statement its own transaction, or all one where it is checked who leads.
    pub async fn write<R, F>(&self, f: F) -> Result<R, StorageError>
    where
        for<'r> F: AsyncFnOnce(&'r mut Conn) -> Result<R, StorageError>
            + AsyncTask<&'r mut Conn, Result<R, StorageError>, Running: Send>
            + Send
            + 'static,
        R: Send + 'static,
    {
        let pools = self.0.pools.clone();
        self.run(async move { pools.writer().await }, |conn| {
            Box::pin(async move { if conn.is_fenced() { conn.transaction(f).await } else { f(conn).await } })
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

    /// As [`transaction`](Self::transaction), for what is small and comes often: those that come at about the same time share a
    /// commit. PostgreSQL lets transactions that do not wait for each other share one by itself.
    pub async fn grouped<R, F>(&self, f: F) -> Result<R, StorageError>
    where
        for<'r> F: AsyncFnOnce(&'r mut Conn) -> Result<R, StorageError>
            + AsyncTask<&'r mut Conn, Result<R, StorageError>, Running: Send>
            + Send
            + 'static,
        R: Send + 'static,
    {
        match &self.0.pools {
            Pools::Sqlite { .. } => self.0.group.join(f).await,
            Pools::Postgres { .. } => self.transaction(f).await,
        }
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
        self.run(async move { pools.writer().await }, |conn| Box::pin(async move { conn.transaction(f).await })).await
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

    async fn run<R, E>(
        &self,
        conn: impl Future<Output = Result<Conn, StorageError>> + Send + 'static,
        f: impl for<'r> FnOnce(&'r mut Conn) -> BoxFuture<'r, Result<R, E>> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        ended(self.0.threads.spawn(async move { with(conn.await?, f).await }).await)
    }
}

/// Runs `f` with a connection: on a thread of its own when the connection's statements block theirs.
pub(crate) async fn with<R, E>(
    mut conn: Conn,
    f: impl for<'r> FnOnce(&'r mut Conn) -> BoxFuture<'r, Result<R, E>> + Send + 'static,
) -> Result<R, E>
where
    R: Send + 'static,
    E: From<StorageError> + Send + 'static,
{
    match conn {
        Conn::Postgres(_) => f(&mut conn).await,
        Conn::Sqlite(_) => {
            let here = Handle::current();
            ended(spawn_blocking(move || here.block_on(f(&mut conn))).await)
        }
    }
}

/// What a task has ended with. When it panicked, so does whoever waited for it.
fn ended<R, E: From<StorageError>>(task: Result<Result<R, E>, JoinError>) -> Result<R, E> {
    match task {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Err(StorageError::unavailable(cancelled).into()),
        },
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").finish_non_exhaustive()
    }
}

/// The runtime that queries run on.
struct Threads {
    handle: Handle,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Threads {
    fn start() -> Result<Self, StorageError> {
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("gradient-storage").enable_all().build();
        let runtime = runtime.map_err(StorageError::unavailable)?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    fn spawn<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(call)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Dropping a runtime waits for it, which panics where the last clone is dropped by async code.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
