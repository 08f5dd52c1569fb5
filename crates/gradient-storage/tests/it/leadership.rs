//! Who leads on a database, and what becomes of the one that does not any more.

use std::{pin::pin, time::Duration};

use diesel::{prelude::*, sql_types::BigInt};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use gradient_storage::{Conn, DatabaseUrl, Deposed, Storage, StorageError, StorageSettings, settings};
use gradient_test_support::on_postgres;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::fixtures::*;

/// A server that is about to lead, and whom it waits for.
struct Candidate {
    leads: JoinHandle<Result<Storage, StorageError>>,
    waits_for: mpsc::UnboundedReceiver<String>,
}

impl Candidate {
    fn start(url: &str, name: &'static str) -> Self {
        let url: DatabaseUrl = url.parse().unwrap();
        let (sender, waits_for) = mpsc::unbounded_channel();
        let waiting = move |leader: &str| drop(sender.send(leader.to_owned()));
        let leads = tokio::spawn(async move { Storage::lead(&url, StorageSettings::default(), name, waiting).await });
        Self { leads, waits_for }
    }

    async fn waits_for(&mut self) -> String {
        soon(self.waits_for.recv()).await.unwrap()
    }

    async fn leads(self) -> Storage {
        soon(self.leads).await.unwrap().unwrap()
    }

    /// Until it leads, whoever else has the lock loses it.
    async fn leads_instead(self, url: &str) -> Storage {
        let mut database = Database::connect(url).await;
        let own = database.candidate().await;
        let mut leads = pin!(self.leads());
        soon(async {
            loop {
                database.end_leaders_but(own).await;
                if let Ok(storage) = tokio::time::timeout(Duration::from_millis(100), &mut leads).await {
                    return storage;
                }
            }
        })
        .await
    }
}

/// The database, behind the storage's back.
struct Database(AsyncPgConnection);

/// The sessions that have the lock of the one that leads.
const LEADERS: &str = "FROM pg_locks WHERE locktype = 'advisory' AND granted \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     AND (classid::bigint << 32 | objid::bigint) = 7809353297155";

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

impl Database {
    async fn connect(url: &str) -> Self {
        Self(AsyncPgConnection::establish(url).await.unwrap())
    }

    async fn run(&mut self, sql: &str) {
        diesel::sql_query(sql).execute(&mut self.0).await.unwrap();
    }

    /// Ends the sessions that have the lock, unless it is this one.
    async fn end_leaders_but(&mut self, session: i64) {
        self.run(&format!("SELECT pg_terminate_backend(pid) {LEADERS} AND pid <> {session}")).await;
    }

    /// The session of the one that waits: what it asked last is who leads.
    async fn candidate(&mut self) -> i64 {
        let asked = "query LIKE '%pg_try_advisory_lock%' OR query LIKE 'SELECT%holder%'";
        let sessions = diesel::sql_query(format!(
            "SELECT pid::bigint AS number FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
             AND ({asked}) AND pid NOT IN (SELECT pid {LEADERS})"
        ));
        sessions.get_result::<Number>(&mut self.0).await.unwrap().number
    }

    /// The session of the leader.
    async fn leader(&mut self) -> Option<i64> {
        let sessions = diesel::sql_query(format!("SELECT pid::bigint AS number {LEADERS}"));
        sessions.get_result::<Number>(&mut self.0).await.optional().unwrap().map(|found| found.number)
    }
}

async fn keep(storage: &Storage, name: &'static str) -> Result<String, StorageError> {
    storage.transaction(async move |conn: &mut Conn| settings::insert_once(conn, name, "1").await).await
}

async fn kept(storage: &Storage, name: &'static str) -> Option<String> {
    storage.read(async move |conn: &mut Conn| settings::lookup(conn, name).await).await.unwrap()
}

fn assert_fenced<T: std::fmt::Debug>(outcome: &Result<T, StorageError>) {
    assert!(matches!(outcome, Err(StorageError::Fenced)), "{outcome:?}");
}

#[test]
fn the_next_one_leads_when_the_first_is_gone() {
    on_postgres(async |url| {
        let first = Candidate::start(url, "first").leads().await;
        keep(&first, "a").await.unwrap();
        let mut second = Candidate::start(url, "second");
        assert_eq!(second.waits_for().await, "first");
        keep(&first, "b").await.unwrap();
        assert!(!second.leads.is_finished());
        drop(first);
        let second = second.leads().await;
        keep(&second, "c").await.unwrap();
        assert_eq!(kept(&second, "b").await.as_deref(), Some("1"));
    });
}

#[test]
fn who_does_not_lead_any_more_writes_nothing() {
    on_postgres(async |url| {
        let first = Candidate::start(url, "first").leads().await;
        keep(&first, "a").await.unwrap();
        let mut second = Candidate::start(url, "second");
        assert_eq!(second.waits_for().await, "first");
        let second = second.leads_instead(url).await;

        assert_fenced(&keep(&first, "late").await);
        assert_fenced(&first.write(async |conn: &mut Conn| settings::set(conn, "a", "2").await).await);
        assert_eq!(soon(first.deposed()).await, Deposed::Replaced);
        // Its connections are as good as before, and refused again.
        assert_fenced(&keep(&first, "late").await);
        assert_eq!((kept(&first, "late").await, kept(&first, "a").await.as_deref()), (None, Some("1")));
        keep(&second, "b").await.unwrap();
    });
}

#[test]
fn what_the_last_one_had_begun_is_undone() {
    on_postgres(async |url| {
        let first = Candidate::start(url, "first").leads().await;
        let (begun, has_begun) = oneshot::channel();
        let (go_on, may_go_on) = oneshot::channel::<()>();
        let writer = first.clone();
        let unfinished = tokio::spawn(async move {
            let call = writer.transaction(async move |conn: &mut Conn| {
                settings::insert_once(conn, "late", "1").await?;
                let _ = begun.send(());
                let _ = may_go_on.await;
                settings::insert_once(conn, "later", "1").await
            });
            call.await
        });
        soon(has_begun).await.unwrap();
        let mut second = Candidate::start(url, "second");
        assert_eq!(second.waits_for().await, "first");
        let second = second.leads_instead(url).await;
        keep(&second, "later").await.unwrap();
        go_on.send(()).unwrap();
        assert!(soon(unfinished).await.unwrap().is_err());
        assert_eq!(kept(&second, "late").await, None);
    });
}

#[test]
fn who_loses_the_connection_only_leads_on() {
    on_postgres(async |url| {
        let first = Candidate::start(url, "first").leads().await;
        let mut database = Database::connect(url).await;
        let before = database.leader().await.unwrap();
        database.end_leaders_but(0).await;
        soon(async {
            while database.leader().await.is_none_or(|leader| leader == before) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        keep(&first, "a").await.unwrap();
        let mut second = Candidate::start(url, "second");
        assert_eq!(second.waits_for().await, "first");
    });
}

#[test]
fn others_write_while_one_leads_but_do_not_migrate() {
    on_postgres(async |url| {
        let first = Candidate::start(url, "first").leads().await;
        let aside = open(url).await;
        keep(&aside, "a").await.unwrap();
        assert_eq!(kept(&first, "a").await.as_deref(), Some("1"));
        keep(&first, "b").await.unwrap();

        let mut database = Database::connect(url).await;
        database.run("DELETE FROM __diesel_schema_migrations WHERE version = '20261126001100'").await;
        let refused = Storage::connect(&url.parse().unwrap(), StorageSettings::default()).await;
        assert!(matches!(refused, Err(StorageError::Led)), "{refused:?}");
    });
}

#[tokio::test]
async fn an_sqlite_file_has_one_server() {
    let directory = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::sqlite(directory.path().join("gradient.db"));
    let lead = || Storage::lead(&url, StorageSettings::default(), "a server", |_| ());
    let first = lead().await.unwrap();
    match lead().await {
        Err(StorageError::InUse(lock)) => assert_eq!(lock, directory.path().join("gradient.db.lock")),
        other => panic!("expected a refusal, got {other:?}"),
    }
    let aside = Storage::connect(&url, StorageSettings::default()).await.unwrap();
    keep(&aside, "a").await.unwrap();
    keep(&first, "b").await.unwrap();
    drop(first);
    keep(&lead().await.unwrap(), "c").await.unwrap();
}
