use diesel::{
    SqliteConnection,
    connection::{AnsiTransactionManager, TransactionManager as _},
};
use diesel_async::{
    AsyncConnection, AsyncPgConnection, TransactionManager, pooled_connection::deadpool::Object,
    sync_connection_wrapper::SyncConnectionWrapper,
};

use crate::{StorageError, inline::Inline, leadership::Fence};

pub(crate) type Lite = SyncConnectionWrapper<SqliteConnection, Inline>;

/// A connection to either database. Every query function takes `&mut Conn`, so functions compose inside one transaction.
#[allow(clippy::large_enum_variant, reason = "there are as many as connections, and a box would cost more than it saves")]
pub enum Conn {
    /// A connection to a PostgreSQL server.
    Postgres(PostgresConn),
    /// A connection to an SQLite file.
    Sqlite(SqliteConn),
}

/// A pooled connection to PostgreSQL. With a fence it is one of the server that leads, and begins no transaction when that has ended.
pub struct PostgresConn(pub(crate) Object<AsyncPgConnection>, pub(crate) Option<Fence>);

/// A pooled connection to SQLite.
pub struct SqliteConn(pub(crate) Object<Lite>);

/// Runs a query on whichever database `conn` is: the body is expanded once for each, so the compiler checks it against both.
///
/// `query!(conn, |c| users::table.load(c).await)` becomes a `match` with one arm for each database, in which `c` is that
/// database's own connection and the type `DB` is its backend. The second form has a body for each, for what really differs.
macro_rules! query {
    ($conn:expr, |$c:ident| $body:expr) => {
        match $conn {
            $crate::Conn::Postgres(pooled) => {
                #[allow(dead_code, reason = "only boxed queries name their backend")]
                type DB = diesel::pg::Pg;
                let $c: &mut diesel_async::AsyncPgConnection = &mut pooled.0;
                $body
            }
            $crate::Conn::Sqlite(pooled) => {
                #[allow(dead_code, reason = "only boxed queries name their backend")]
                type DB = diesel::sqlite::Sqlite;
                let $c: &mut $crate::conn::Lite = &mut pooled.0;
                $body
            }
        }
    };
    ($conn:expr, postgres |$p:ident| $postgres:expr, sqlite |$s:ident| $sqlite:expr $(,)?) => {
        match $conn {
            $crate::Conn::Postgres(pooled) => {
                let $p: &mut diesel_async::AsyncPgConnection = &mut pooled.0;
                $postgres
            }
            $crate::Conn::Sqlite(pooled) => {
                let $s: &mut $crate::conn::Lite = &mut pooled.0;
                $sqlite
            }
        }
    };
}

pub(crate) use query;

/// How many values one statement may have: SQLite's limit; PostgreSQL's is twice that.
const MAX_VALUES: usize = 32_766;

/// How many keys one query asks for.
pub(crate) const KEYS_PER_QUERY: usize = 10_000;

/// How many rows of so many columns go into one statement.
pub(crate) const fn rows_per_statement(columns: usize) -> usize {
    let rows = MAX_VALUES / columns;
    if rows < 2_000 { rows } else { 2_000 }
}

/// Inserts rows into a table, in chunks that both databases take. Answers how many were new; with `or ignore`, rows that are
/// there already stay as they are.
macro_rules! insert_rows {
    ($conn:expr, $table:expr, $columns:literal, $rows:expr) => {
        $crate::conn::insert_rows!(@ $conn, $columns, $rows, |chunk| diesel::insert_into($table).values(chunk))
    };
    ($conn:expr, $table:expr, $columns:literal, $rows:expr, or ignore) => {
        $crate::conn::insert_rows!(@ $conn, $columns, $rows, |chunk| {
            diesel::insert_into($table).values(chunk).on_conflict_do_nothing()
        })
    };
    (@ $conn:expr, $columns:literal, $rows:expr, |$chunk:ident| $statement:expr) => {{
        let mut rows = IntoIterator::into_iter($rows);
        let mut inserted = 0;
        loop {
            let $chunk: Vec<_> = rows.by_ref().take($crate::conn::rows_per_statement($columns)).collect();
            if $chunk.is_empty() {
                break;
            }
            inserted += $crate::conn::query!(
                &mut *$conn,
                postgres |c| diesel_async::RunQueryDsl::execute($statement, c).await?,
                // diesel-async cannot put several rows into SQLite at once (its issue 277), diesel can.
                sqlite |c| c.spawn_blocking(move |c| diesel::RunQueryDsl::execute($statement, c)).await?,
            );
        }
        inserted
    }};
}

pub(crate) use insert_rows;

/// Loads the rows of a query of which there may be very many. For SQLite diesel-async makes a copy of each value first, so that rows can
/// go to another thread; here they stay.
macro_rules! load_rows {
    ($conn:expr, $statement:expr) => {
        $crate::conn::query!(
            &mut *$conn,
            postgres | c | diesel_async::RunQueryDsl::load($statement, c).await?,
            sqlite | c | c.spawn_blocking(move |c| diesel::RunQueryDsl::load($statement, c)).await?,
        )
    };
}

pub(crate) use load_rows;

/// Runs a statement for each of several things; how many rows each has changed. PostgreSQL is sent all of them at once: one after the
/// other, each would wait for the answer to the one before.
macro_rules! execute_each {
    ($conn:expr, $things:expr, |$thing:ident| $statement:expr) => {
        $crate::conn::query!(
            &mut *$conn,
            postgres | c | {
                let c = &*c;
                let each = $things.into_iter().map(|$thing| async move {
                    let mut c = c;
                    diesel_async::RunQueryDsl::execute($statement, &mut c).await
                });
                futures_util::future::try_join_all(each).await?
            },
            sqlite | c | {
                let mut changed = Vec::new();
                for $thing in $things {
                    changed.push(diesel_async::RunQueryDsl::execute($statement, c).await?);
                }
                changed
            },
        )
    };
}

pub(crate) use execute_each;

/// An async closure over `T` whose future can go to another thread. Met by every `async |conn: &mut Conn| …` that captures only
/// what is `Send`.
pub trait AsyncTask<T, R>: AsyncFnOnce(T) -> R + FnOnce(T) -> <Self as AsyncTask<T, R>>::Running {
    /// The running closure.
    type Running: Future<Output = R>;
}

impl<F, T, Running, R> AsyncTask<T, R> for F
where
    F: AsyncFnOnce(T) -> R + FnOnce(T) -> Running,
    Running: Future<Output = R>,
{
    type Running = Running;
}

type Transactions<C> = <C as AsyncConnection>::TransactionManager;

impl Conn {
    /// Runs `f` in a transaction: committed when it succeeds, undone when it fails. Inside of another transaction it is a
    /// savepoint.
    pub async fn transaction<'a, R, E, F>(&mut self, f: F) -> Result<R, E>
    where
        for<'r> F: AsyncFnOnce(&'r mut Conn) -> Result<R, E> + AsyncTask<&'r mut Conn, Result<R, E>, Running: Send> + Send + 'a,
        R: Send + 'a,
        E: From<StorageError> + Send + 'a,
    {
        self.begin().await?;
        let result = f(&mut *self).await;
        if result.is_ok() {
            self.commit().await?;
        } else if let Err(error) = self.rollback().await {
            // The first error is the one that says what happened; the pool discards the connection.
            tracing::warn!(%error, "a transaction could not be rolled back");
        }
        result
    }

    /// Whether it may write in transactions only.
    pub(crate) const fn is_fenced(&self) -> bool {
        matches!(self, Self::Postgres(PostgresConn(_, Some(_))))
    }

    pub(crate) async fn begin(&mut self) -> Result<(), StorageError> {
        if let Self::Postgres(PostgresConn(conn, Some(fence))) = self
            && Transactions::<AsyncPgConnection>::transaction_manager_status_mut(&mut **conn).transaction_depth()?.is_none()
        {
            return fence.begin(conn).await;
        }
        query!(
            self,
            postgres | c | Transactions::<AsyncPgConnection>::begin_transaction(c).await?,
            sqlite
                | c
                | c.spawn_blocking(|c| {
                    // `BEGIN` alone would take the write lock at the first write, and fail then if another process has it.
                    if AnsiTransactionManager::transaction_manager_status_mut(c).transaction_depth()?.is_none() {
                        AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE")
                    } else {
                        AnsiTransactionManager::begin_transaction(c)
                    }
                })
                .await?,
        );
        Ok(())
    }

    pub(crate) async fn commit(&mut self) -> Result<(), StorageError> {
        query!(self, |c| commit(c).await?);
        Ok(())
    }

    async fn rollback(&mut self) -> Result<(), StorageError> {
        query!(self, |c| rollback(c).await?);
        Ok(())
    }
}

async fn commit<C: AsyncConnection>(conn: &mut C) -> diesel::QueryResult<()> {
    C::TransactionManager::commit_transaction(conn).await
}

async fn rollback<C: AsyncConnection>(conn: &mut C) -> diesel::QueryResult<()> {
    C::TransactionManager::rollback_transaction(conn).await
}
