//! Connections, transactions, and what a caller that gives up leaves behind.

use std::time::Duration;

use gradient_storage::{Conn, DatabaseUrl, Storage, StorageError, StorageSettings, settings};
use tokio::sync::oneshot;

use crate::fixtures::*;

gradient_test_support::both_databases!(
    answers,
    undoes_what_fails,
    nests_transactions,
    passes_errors_of_others_on,
    finishes_without_its_caller,
    survives_a_panic,
    tells_when_no_connection_is_free,
    writes_from_many_tasks,
);

async fn answers(url: &str) {
    open(url).await.ping().await.unwrap();
}

async fn undoes_what_fails(url: &str) {
    let storage = open(url).await;
    let failed = storage.transaction(async |conn: &mut Conn| {
        settings::insert_once(conn, "a", "1").await?;
        Err::<(), _>(StorageError::NotFound { what: "reason", key: "none".to_owned() })
    });
    assert_missing(failed.await, "reason");
    let left = storage.read(async |conn: &mut Conn| settings::lookup(conn, "a").await).await.unwrap();
    assert_eq!(left, None);
}

async fn nests_transactions(url: &str) {
    with(url, async |conn: &mut Conn| {
        settings::insert_once(conn, "outer", "1").await?;
        let inner: Result<(), StorageError> = conn
            .transaction(async |conn: &mut Conn| {
                settings::insert_once(conn, "inner", "1").await?;
                Err(StorageError::NotFound { what: "reason", key: "none".to_owned() })
            })
            .await;
        assert_missing(inner, "reason");
        let both = (settings::lookup(conn, "outer").await?, settings::lookup(conn, "inner").await?);
        assert_eq!(both, (Some("1".to_owned()), None));
        Ok(())
    })
    .await;
}

async fn passes_errors_of_others_on(url: &str) {
    #[derive(Debug)]
    enum Refused {
        Politely,
        Storage,
    }
    impl From<StorageError> for Refused {
        fn from(_: StorageError) -> Self {
            Self::Storage
        }
    }
    let storage = open(url).await;
    let refused: Result<(), Refused> = storage
        .try_transaction(async |conn: &mut Conn| {
            settings::insert_once(conn, "a", "1").await?;
            Err(Refused::Politely)
        })
        .await;
    assert!(matches!(refused, Err(Refused::Politely)), "{refused:?}");
    assert_eq!(storage.read(async |conn: &mut Conn| settings::lookup(conn, "a").await).await.unwrap(), None);
}

async fn finishes_without_its_caller(url: &str) {
    let storage = open(url).await;
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let call = storage.transaction(async move |conn: &mut Conn| {
        settings::insert_once(conn, "a", "1").await?;
        let _ = begun.send(());
        let _ = may_go_on.await;
        settings::insert_once(conn, "b", "2").await
    });
    // The caller gives up in the middle of the transaction.
    tokio::select! {
        _ = call => panic!("it waits to go on"),
        begun = soon(has_begun) => begun.unwrap(),
    }
    go_on.send(()).unwrap();
    // The writer is free again only when the transaction is over.
    let found = soon(async {
        loop {
            let found = storage.transaction(async |conn: &mut Conn| settings::lookup(conn, "b").await).await.unwrap();
            if found.is_some() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(found.await.as_deref(), Some("2"));
}

async fn survives_a_panic(url: &str) {
    let storage = open(url).await;
    let panicking = storage.clone();
    let task = tokio::spawn(async move {
        let call = panicking.transaction(async |conn: &mut Conn| {
            settings::insert_once(conn, "a", "1").await?;
            assert_eq!(settings::lookup(conn, "a").await?, None, "this panic is part of the test");
            Ok(())
        });
        call.await
    });
    assert!(soon(task).await.unwrap_err().is_panic());
    let found = soon(storage.transaction(async |conn: &mut Conn| settings::lookup(conn, "a").await)).await.unwrap();
    assert_eq!(found, None, "nothing of it is left");
}

async fn tells_when_no_connection_is_free(url: &str) {
    // The first connection has to be there within it too, on a busy machine.
    let wait = Duration::from_secs(2);
    let settings = StorageSettings { postgres_connections: 1, sqlite_readers: 1, wait };
    let storage = Storage::connect(&url.parse().unwrap(), settings).await.unwrap();
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let busy = storage.clone();
    let busy = tokio::spawn(async move {
        let call = busy.write(async move |_: &mut Conn| {
            let _ = begun.send(());
            let _ = may_go_on.await;
            Ok(())
        });
        call.await
    });
    soon(has_begun).await.unwrap();
    let refused = storage.write(async |_: &mut Conn| Ok(())).await;
    assert!(matches!(refused, Err(StorageError::Unavailable(_))), "{refused:?}");
    go_on.send(()).unwrap();
    soon(busy).await.unwrap().unwrap();
    storage.write(async |_: &mut Conn| Ok(())).await.unwrap();
}

async fn writes_from_many_tasks(url: &str) {
    let storage = open(url).await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let storage = storage.clone();
            tokio::spawn(async move {
                let name = format!("name-{}", number % 10);
                let call = storage.transaction(async move |conn: &mut Conn| {
                    let value = format!("{number}");
                    settings::insert_once(conn, &name, &value).await
                });
                call.await.unwrap()
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        let value: usize = soon(task).await.unwrap().parse().unwrap();
        assert_eq!(value % 10, number % 10);
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::sqlite(directory.path().join("missing/gradient.db"));
    let refused = Storage::connect(&url, StorageSettings::default()).await;
    assert!(matches!(refused, Err(StorageError::Unavailable(_))), "{refused:?}");
    let url = format!("postgres://nobody@%2F{}/nothing", directory.path().display().to_string().replace('/', "%2F"));
    let refused = Storage::connect(&url.parse().unwrap(), StorageSettings::default()).await;
    assert!(matches!(refused, Err(StorageError::Unavailable(_))), "{refused:?}");
}

#[test]
fn urls_are_told_apart() {
    for good in ["sqlite:a.db", "sqlite:///var/a.db", "postgres://localhost/a", "postgresql://u:p@[::1]:5432/a?x=y"] {
        assert!(good.parse::<DatabaseUrl>().is_ok(), "{good}");
    }
    for bad in ["", "a.db", "sqlite:", "sqlite://", "sqlite::memory:", "mysql://localhost/a", "postgres:a"] {
        assert!(bad.parse::<DatabaseUrl>().is_err(), "{bad}");
    }
    let url: DatabaseUrl = "postgres://user:p@ss@localhost:5432/gradient?password=secret".parse().unwrap();
    assert_eq!(url.to_string(), "postgres://localhost:5432/gradient");
}
