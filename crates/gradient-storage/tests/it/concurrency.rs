//! Writers that meet: nobody waits for ever, and the counts stay right.

use gradient_domain::{BuildId, BuildStatus, Epoch, EvaluationId, Publish};
use gradient_storage::{
    Conn, Storage, attempts, builds,
    cache_paths::{self, NewCachePath},
    derivations, evaluations,
};

use crate::fixtures::*;

gradient_test_support::both_databases!(the_same_rows_in_another_order, counts_stay_right);

async fn the_same_rows_in_another_order(url: &str) {
    let storage = open(url).await;
    let prepare = storage.transaction(async |conn: &mut Conn| {
        let nar_hash = insert_nar(conn, 1).await?;
        Ok((insert_organization(conn, "acme").await?, insert_cache(conn, "store").await?, nar_hash))
    });
    let (acme, store, nar_hash) = prepare.await.unwrap();
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let storage = storage.clone();
            tokio::spawn(async move {
                let mut numbers: Vec<usize> = (0..1_000).collect();
                numbers.rotate_left(writer * 150);
                if writer % 2 == 0 {
                    numbers.reverse();
                }
                let claim = |number: &usize| NewCachePath {
                    path: path(*number, "hello"),
                    nar_hash,
                    references: vec![],
                    deriver: None,
                    content_address: None,
                    foreign_signatures: Vec::new(),
                };
                let claims: Vec<_> = numbers.iter().map(claim).collect();
                let new: Vec<_> = numbers.iter().map(|number| derivation(acme, *number, &[])).collect();
                let write = storage.transaction(async move |conn: &mut Conn| {
                    derivations::insert_many(conn, new).await?;
                    cache_paths::publish(conn, store, claims, NOW).await
                });
                write.await.unwrap()
            })
        })
        .collect();
    let mut published = 0;
    for writer in writers {
        published += soon(writer).await.unwrap().new;
    }
    assert_eq!(published, 1_000);
}

async fn counts_stay_right(url: &str) {
    let storage = open(url).await;
    let prepare = storage.transaction(async |conn: &mut Conn| {
        let (acme, project) = insert_project(conn).await?;
        let first = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let second = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let mut ids = Vec::new();
        for number in 0..40 {
            ids.push(insert_build(conn, acme, number, &[]).await?.1);
        }
        Ok(([first, second], ids))
    });
    let (evaluations, ids) = prepare.await.unwrap();
    let mut tasks = Vec::new();
    for evaluation in evaluations {
        for part in ids.chunks(8) {
            tasks.push(tokio::spawn(link(storage.clone(), evaluation, part.to_vec())));
        }
    }
    for part in ids.chunks(10) {
        tasks.push(tokio::spawn(run(storage.clone(), part.to_vec())));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
    for evaluation in evaluations {
        for status in BuildStatus::ALL.iter().copied() {
            let page = storage
                .read(async move |conn: &mut Conn| evaluations::builds(conn, evaluation, 100, 0, Some(status)).await)
                .await;
            let (rows, total) = page.unwrap();
            assert_eq!(i64::try_from(rows.len()).unwrap(), total, "{status}");
            assert!(rows.iter().all(|row| row.status == status), "{status}");
        }
        let all = storage.read(async move |conn: &mut Conn| evaluations::builds(conn, evaluation, 100, 0, None).await).await;
        assert_eq!(all.unwrap().1, 40);
    }
}

async fn link(storage: Storage, evaluation: EvaluationId, ids: Vec<BuildId>) {
    let link = storage.transaction(async move |conn: &mut Conn| builds::link(conn, evaluation, &ids, NOW).await);
    link.await.unwrap();
}

/// Builds, loses, builds again and ends each, two in a transaction and in another order than they are linked.
async fn run(storage: Storage, ids: Vec<BuildId>) {
    for pair in ids.rchunks(2) {
        let pair = pair.to_vec();
        let run = storage.transaction(async move |conn: &mut Conn| {
            for id in pair.iter().rev().copied() {
                assert!(attempts::assign(conn, id, Epoch(1), worker(), NOW).await?.is_some());
                assert!(builds::set_status(conn, id, Epoch(1), BuildStatus::Queued, None, NOW).await?);
                assert!(attempts::assign(conn, id, Epoch(2), worker(), NOW).await?.is_some());
            }
            for id in pair {
                assert!(builds::complete(conn, id, Epoch(2), 1, NOW).await?);
            }
            Ok(())
        });
        run.await.unwrap();
    }
}
