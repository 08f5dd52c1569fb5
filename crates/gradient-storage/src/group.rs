//! Transactions that share a commit.
//!
//! A commit waits for the disk, and an SQLite file has one writer: with a commit for each of them, a thousand builds that end at once
//! wait for the disk a thousand times, one after the other. So what comes while one commit is on its way goes together in the next.
//! Each transaction is a savepoint there, which fails by itself; that it has happened is told after the commit.

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::{Conn, StorageError, conn::AsyncTask, pools::Pools, storage::with};

/// As many wait at most; who comes then waits for its turn to wait.
const WAITING: usize = 1024;

/// As many share a commit at most, so that others have the writer soon again.
const MEMBERS: usize = 64;

/// The way into the next group.
#[derive(Clone)]
pub(crate) struct Group(mpsc::Sender<Box<dyn Member>>);

/// What is told once it is known whether the commit went well.
type Finish = Box<dyn FnOnce(Option<StorageError>) + Send>;

/// One transaction.
trait Member: Send {
    fn run(self: Box<Self>, conn: &mut Conn) -> BoxFuture<'_, Finish>;

    /// It was not even begun.
    fn refuse(self: Box<Self>, error: StorageError);
}

struct Call<F, R, E> {
    f: F,
    answer: oneshot::Sender<Result<R, E>>,
}

impl<F, R, E> Member for Call<F, R, E>
where
    for<'r> F: AsyncFnOnce(&'r mut Conn) -> Result<R, E> + AsyncTask<&'r mut Conn, Result<R, E>, Running: Send> + Send + 'static,
    R: Send + 'static,
    E: From<StorageError> + Send + 'static,
{
    fn run(self: Box<Self>, conn: &mut Conn) -> BoxFuture<'_, Finish> {
        let Self { f, answer } = *self;
        Box::pin(async move {
            let result = conn.transaction(f).await;
            let finish: Finish = Box::new(move |failed| {
                let result = failed.map_or(result, |error| Err(error.into()));
                // Whoever asked may be gone.
                let _ = answer.send(result);
            });
            finish
        })
    }

    fn refuse(self: Box<Self>, error: StorageError) {
        let _ = self.answer.send(Err(error.into()));
    }
}

impl Group {
    /// The way in, and what takes in what comes. That ends when the last way in is gone.
    pub(crate) fn new(pools: Pools) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, inbox) = mpsc::channel(WAITING);
        (Self(sender), run(pools, inbox))
    }

    pub(crate) async fn join<R, E, F>(&self, f: F) -> Result<R, E>
    where
        for<'r> F:
            AsyncFnOnce(&'r mut Conn) -> Result<R, E> + AsyncTask<&'r mut Conn, Result<R, E>, Running: Send> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let gone = || StorageError::unavailable("a transaction that shared the commit with this one panicked");
        self.0.send(Box::new(Call { f, answer })).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone().into()))
    }
}

async fn run(pools: Pools, mut inbox: mpsc::Receiver<Box<dyn Member>>) {
    let mut members = Vec::with_capacity(MEMBERS);
    while inbox.recv_many(&mut members, MEMBERS).await > 0 {
        let group = commit(pools.clone(), std::mem::take(&mut members));
        // A task of its own: when one panics, those with it are told, and the next ones go on.
        let _ = tokio::spawn(group).await;
    }
}

async fn commit(pools: Pools, members: Vec<Box<dyn Member>>) {
    match pools.writer().await {
        Ok(conn) => {
            let together = with(conn, |conn| {
                Box::pin(async move {
                    commit_with(conn, members).await;
                    Ok::<_, StorageError>(())
                })
            });
            // Each member was told.
            let _ = together.await;
        }
        Err(error) => members.into_iter().for_each(|member| member.refuse(shared(&error))),
    }
}

async fn commit_with(conn: &mut Conn, members: Vec<Box<dyn Member>>) {
    let mut members = members.into_iter();
    if members.len() == 1 {
        // A transaction, as nothing is around it.
        for member in members {
            member.run(conn).await(None);
        }
        return;
    }
    if let Err(error) = conn.begin().await {
        return members.for_each(|member| member.refuse(shared(&error)));
    }
    let mut finishes = Vec::with_capacity(members.len());
    for member in members.by_ref() {
        finishes.push(member.run(conn).await);
    }
    let failed = conn.commit().await.err();
    for finish in finishes {
        finish(failed.as_ref().map(shared));
    }
}

/// The same error for one of several.
fn shared(error: &StorageError) -> StorageError {
    match error {
        StorageError::Fenced => StorageError::Fenced,
        error => StorageError::unavailable(format!("the commit that several transactions shared failed: {error:?}")),
    }
}
