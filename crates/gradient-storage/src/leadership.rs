//! One server leads on a database: it alone decides, and it alone writes.
//!
//! On PostgreSQL an advisory lock elects it, on a connection that is for nothing else: whoever has the lock leads, the others try
//! again and again. The lock alone would not do, for whoever loses it learns so too late. So each server that takes over raises the
//! number of the term, and each transaction of a server begins with the check that the term is still its own.
//!
//! An SQLite file is one machine's: there a lock file refuses a second server.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use diesel::{dsl::sql, prelude::*, sql_types::Bool};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use gradient_domain::Moment;
use thiserror::Error;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    StorageError, StorageSettings, migrations,
    pools::Pools,
    schema::leadership::{self, holder, since, term},
};

/// The advisory lock of the server that leads; arbitrary, as the other one, which `check_leadership` in the database knows too.
const LEADS: i64 = 7_809_353_297_155;
/// The advisory lock that the leader's transactions share, and that a server has alone while it takes over.
const WRITES: i64 = 7_809_353_297_156;

/// How often a server tries to lead while another one does.
const TRY: Duration = Duration::from_millis(500);

/// How often the leader looks after its lock, and how long the database may take to answer.
const BEAT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);

/// How long the leader tries to have its lock again when the connection is gone: a database that restarts is back by then.
const REGAIN: Duration = Duration::from_secs(30);

/// The database ends a session that does not beat, be it that its machine is out of reach or that its process stands still. Older
/// servers than PostgreSQL 14 do not know that.
const LIFELINE: &str = "SELECT set_config(name, '10s', false) FROM pg_settings WHERE name = 'idle_session_timeout';";

/// What `check_leadership` fails with.
const FENCED: &str = "fenced";

/// Why a server does not lead any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Deposed {
    /// Another server has taken over.
    #[error("another server leads on the database by now")]
    Replaced,
    /// The database could not be reached for so long that another server may lead.
    #[error("the database could not be reached for {} s, and another server may lead by now", REGAIN.as_secs())]
    Unreachable,
}

/// What makes this server the leader, for as long as it is kept.
pub(crate) enum Leadership {
    /// The lock file.
    Sqlite { _lock: File },
    /// The term.
    Postgres(Fence),
}

impl Leadership {
    /// Ends when it does. The lock of a file stays until it is closed.
    pub(crate) async fn deposed(&self) -> Deposed {
        match self {
            Self::Sqlite { .. } => std::future::pending().await,
            Self::Postgres(fence) => fence.ended().await,
        }
    }
}

/// The term of the server that leads: what each of its transactions begins with. Clones share it.
#[derive(Clone)]
pub(crate) struct Fence(Arc<Term>);

struct Term {
    number: i64,
    begin: String,
    ended: watch::Sender<Option<Deposed>>,
}

impl Fence {
    fn new(number: i64) -> Self {
        // With another level of isolation it would see what there was before it waited.
        let begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT check_leadership({number})");
        Self(Arc::new(Term { number, begin, ended: watch::Sender::new(None) }))
    }

    /// Begins a transaction, unless the term has ended. It costs no round trip of its own.
    pub(crate) async fn begin(&self, conn: &mut AsyncPgConnection) -> Result<(), StorageError> {
        type Transactions = <AsyncPgConnection as diesel_async::AsyncConnection>::TransactionManager;
        let Err(error) = Transactions::begin_transaction_sql(conn, &self.0.begin).await else { return Ok(()) };
        // `BEGIN` itself went well, of which diesel knows nothing. A connection that cannot do that is closed.
        let _ = conn.batch_execute("ROLLBACK").await;
        let fenced = matches!(&error, diesel::result::Error::DatabaseError(_, info) if info.message() == FENCED);
        if fenced {
            self.end(Deposed::Replaced);
            return Err(StorageError::Fenced);
        }
        Err(error.into())
    }

    fn end(&self, why: Deposed) {
        self.0.ended.send_if_modified(|ended| ended.is_none() && ended.replace(why).is_none());
    }

    async fn ended(&self) -> Deposed {
        let mut ended = self.0.ended.subscribe();
        let found = ended.wait_for(Option::is_some).await.ok().and_then(|why| *why);
        // The sender is `self`'s own.
        found.unwrap_or(Deposed::Replaced)
    }
}

/// Locks the file beside an SQLite database that says that a server uses it.
pub(crate) fn sqlite(database: &Path) -> Result<Leadership, StorageError> {
    let path = database.with_added_extension("lock");
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(StorageError::unavailable)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse(path)),
        // Some network file systems have no locks; SQLite itself is not safe there either.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Leadership::Sqlite { _lock: file }),
    }
}

/// Waits until this server leads, and opens the database for it. `waiting` is told who leads meanwhile, as often as that changes.
pub(crate) async fn postgres(
    url: &str,
    settings: StorageSettings,
    name: &str,
    waiting: impl Fn(&str),
) -> Result<(Pools, Leadership), StorageError> {
    let mut conn = elected(url, waiting).await?;
    shut_out_writers(&mut conn).await?;
    migrations::postgres(url, true).await?;
    let raised = (term.eq(term + 1), holder.eq(name), since.eq(Moment::now()));
    let number = diesel::update(leadership::table).set(raised).returning(term).get_result(&mut conn).await?;
    conn.batch_execute(&format!("SELECT pg_advisory_unlock({WRITES}); {LIFELINE}")).await?;
    tracing::info!(term = number, "this server leads on the database");
    let fence = Fence::new(number);
    tokio::spawn(beat(url.to_owned(), conn, fence.clone()));
    Ok((Pools::postgres(url, settings, Some(fence.clone()))?, Leadership::Postgres(fence)))
}

/// The connection that has the lock. A database that is away while another server leads is waited for.
async fn elected(url: &str, waiting: impl Fn(&str)) -> Result<AsyncPgConnection, StorageError> {
    let mut conn = connect(url).await?;
    let mut leader = None;
    loop {
        match answer(stand(&mut conn)).await {
            Ok(None) => return Ok(conn),
            Ok(Some(found)) if leader.as_ref() == Some(&found) => {}
            Ok(Some(found)) => waiting(leader.insert(found)),
            Err(error) if leader.is_none() => return Err(error),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot ask who leads; trying again");
                if let Ok(another) = answer(connect(url)).await {
                    conn = another;
                }
            }
        }
        sleep(TRY).await;
    }
}

/// Takes the lock, or says who has it.
async fn stand(conn: &mut AsyncPgConnection) -> Result<Option<String>, StorageError> {
    if try_lock(conn).await? {
        return Ok(None);
    }
    // The very first server is not known before it has made the table.
    let known = leadership::table.select(holder).first::<String>(conn).await.ok();
    Ok(Some(known.filter(|known| !known.is_empty()).unwrap_or_else(|| "another server".to_owned())))
}

/// Waits for the transactions of the server that led before, and lets none begin. A server that stands still, or is out of reach,
/// might never end what it has begun: its connections are closed, which undoes it.
async fn shut_out_writers(conn: &mut AsyncPgConnection) -> Result<(), StorageError> {
    let wait = |time: &str| format!("SET lock_timeout = '{time}'; SELECT pg_advisory_lock({WRITES})");
    if conn.batch_execute(&wait("2s")).await.is_ok() {
        return Ok(());
    }
    tracing::warn!("the server that led before is in the middle of transactions, which are cut off");
    let holders = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid() \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = {WRITES}"
    );
    conn.batch_execute(&holders).await?;
    Ok(conn.batch_execute(&wait("30s")).await?)
}

/// Looks after the lock until it is another server's.
async fn beat(url: String, mut conn: AsyncPgConnection, fence: Fence) {
    let why = loop {
        sleep(BEAT).await;
        match answer(current_term(&mut conn)).await {
            Ok(found) if found == fence.0.number => {}
            Ok(_) => break Deposed::Replaced,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the connection that says who leads is lost");
                match regain(&url, fence.0.number).await {
                    Ok(another) => conn = another,
                    Err(why) => break why,
                }
            }
        }
    };
    fence.end(why);
}

/// Takes the lock again on a new connection. That the old one still has it for a while is no sign of another server; a new term is.
async fn regain(url: &str, mine: i64) -> Result<AsyncPgConnection, Deposed> {
    let until = Instant::now() + REGAIN;
    while Instant::now() < until {
        let tried = answer(async {
            let mut conn = connect(url).await?;
            let locked = try_lock(&mut conn).await?;
            let found = current_term(&mut conn).await?;
            conn.batch_execute(LIFELINE).await?;
            Ok((conn, locked, found))
        });
        match tried.await {
            Ok((_, _, found)) if found != mine => return Err(Deposed::Replaced),
            Ok((conn, true, _)) => {
                tracing::info!("this server leads on; no other one has meanwhile");
                return Ok(conn);
            }
            Ok((_, false, _)) | Err(_) => sleep(TRY).await,
        }
    }
    Err(Deposed::Unreachable)
}

async fn connect(url: &str) -> Result<AsyncPgConnection, StorageError> {
    AsyncPgConnection::establish(url).await.map_err(StorageError::unavailable)
}

/// Takes the lock of the server that leads, if it is free. It goes with the connection.
pub(crate) async fn try_lock(conn: &mut AsyncPgConnection) -> Result<bool, StorageError> {
    Ok(diesel::select(sql::<Bool>(&format!("pg_try_advisory_lock({LEADS})"))).get_result(conn).await?)
}

async fn current_term(conn: &mut AsyncPgConnection) -> Result<i64, StorageError> {
    Ok(leadership::table.select(term).first(conn).await?)
}

/// The answer of the database, which has to come in time.
async fn answer<T>(asked: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
    timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(StorageError::unavailable("the database did not answer in time")))
}
