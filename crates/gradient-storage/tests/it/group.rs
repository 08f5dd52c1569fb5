//! Transactions that share a commit: each happens or fails by itself.

use gradient_storage::{Conn, StorageError, settings};

use crate::fixtures::*;

gradient_test_support::both_databases!(each_fails_alone, those_with_one_that_panics_are_told);

async fn each_fails_alone(url: &str) {
    let storage = open(url).await;
    let calls: Vec<_> = (0..200_u32)
        .map(|number| {
            let storage = storage.clone();
            tokio::spawn(async move {
                let call = storage.grouped(async move |conn: &mut Conn| {
                    settings::insert_once(conn, &format!("name-{number}"), "1").await?;
                    if number.is_multiple_of(3) {
                        return Err(StorageError::NotFound { what: "reason", key: number.to_string() });
                    }
                    Ok(number)
                });
                (number, call.await)
            })
        })
        .collect();
    for call in calls {
        let (number, outcome) = soon(call).await.unwrap();
        let name = format!("name-{number}");
        let there = storage.read(async move |conn: &mut Conn| settings::lookup(conn, &name).await).await.unwrap();
        if number.is_multiple_of(3) {
            assert_missing(outcome, "reason");
            assert_eq!(there, None, "{number}");
        } else {
            assert_eq!((outcome.unwrap(), there.as_deref()), (number, Some("1")));
        }
    }
}

async fn those_with_one_that_panics_are_told(url: &str) {
    let storage = open(url).await;
    let calls: Vec<_> = (0..50_u32)
        .map(|number| {
            let storage = storage.clone();
            tokio::spawn(async move {
                let call = storage.grouped(async move |conn: &mut Conn| {
                    let name = format!("name-{number}");
                    settings::insert_once(conn, &name, "1").await?;
                    assert_ne!(number, 25, "this panic is part of the test");
                    Ok(name)
                });
                call.await
            })
        })
        .collect();
    for call in calls {
        // One that panics may take its caller along, or tell it that it failed.
        let Ok(Ok(name)) = soon(call).await else { continue };
        let there = storage.read(async move |conn: &mut Conn| settings::lookup(conn, &name).await).await.unwrap();
        assert_eq!(there.as_deref(), Some("1"));
    }
    soon(storage.grouped(async |conn: &mut Conn| settings::insert_once(conn, "after", "1").await)).await.unwrap();
    assert_eq!(storage.read(async |conn: &mut Conn| settings::lookup(conn, "name-25").await).await.unwrap(), None);
}
