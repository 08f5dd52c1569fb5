use gradient_domain::{BuildId, BuildStatus, Epoch, Failure, FailureKind};
use gradient_storage::{
    Conn,
    attempts::{self, Success},
    builds, logs,
};

use crate::fixtures::*;

gradient_test_support::both_databases!(is_made_by_an_assignment, ends_once, tells_whose_log_is_to_be_archived);

async fn is_made_by_an_assignment(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        let (_, build) = insert_build(conn, acme, 1, &[]).await?;
        let owner = worker();
        assert_eq!(attempts::assign(conn, build, Epoch(1), owner, later(1)).await?, Some(acme));
        assert_eq!(attempts::assign(conn, build, Epoch(2), worker(), later(1)).await?, None, "it is not queued");
        assert!(attempts::set_started(conn, build, Epoch(1), later(2)).await?);
        assert!(!attempts::set_started(conn, build, Epoch(1), later(3)).await?);
        assert!(!attempts::set_started(conn, build, Epoch(2), later(3)).await?);
        let attempt = attempts::lookup(conn, build, None).await?.unwrap();
        assert_eq!((attempt.worker, attempt.assigned_at, attempt.started_at), (owner, later(1), Some(later(2))));
        let row = builds::find(conn, build).await?;
        assert_eq!((row.status, row.worker, row.started_at), (BuildStatus::Building, Some(owner), Some(later(2))));
        Ok(())
    })
    .await;
}

fn success(build: BuildId, epoch: u32, log_bytes: i64) -> Success {
    Success { build, epoch: Epoch(epoch), log_bytes, log_frames: None }
}

async fn ends_once(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        let (_, build) = insert_build(conn, acme, 1, &[]).await?;
        attempts::assign(conn, build, Epoch(1), worker(), NOW).await?;
        assert!(attempts::end(conn, build, Epoch(1), FailureKind::Transient, "lost", later(1)).await?);
        let failure = Failure { kind: FailureKind::Permanent, message: "too late".to_owned() };
        assert!(!attempts::set_failed(conn, build, Epoch(1), &failure, 5, later(2)).await?);
        assert!(!attempts::set_succeeded(conn, success(build, 1, 5), later(2)).await?);
        assert!(!attempts::set_started(conn, build, Epoch(1), later(2)).await?);
        builds::set_status(conn, build, Epoch(1), BuildStatus::Queued, None, later(2)).await?;
        attempts::assign(conn, build, Epoch(2), worker(), later(3)).await?;
        logs::append(conn, build, Epoch(2), 0, vec![b'x'; 42]).await?;
        assert!(attempts::set_succeeded(conn, success(build, 2, 42), later(4)).await?);

        let all = attempts::list(conn, build).await?;
        let ends: Vec<_> = all.iter().map(|a| (a.epoch, a.failure_kind, a.finished_at, a.log_bytes)).collect();
        let first = (Epoch(1), Some(FailureKind::Transient), Some(later(1)), 0);
        assert_eq!(ends, [first, (Epoch(2), None, Some(later(4)), 42)]);
        assert_eq!(attempts::lookup(conn, build, Some(Epoch(1))).await?.as_ref(), Some(&all[0]));
        assert_eq!(attempts::lookup(conn, build, None).await?.as_ref(), Some(&all[1]));
        assert_eq!(attempts::lookup(conn, build, Some(Epoch(3))).await?, None);
        assert_eq!(attempts::next(conn, build, Epoch::NONE).await?.as_ref(), Some(&all[0]));
        assert_eq!(attempts::next(conn, build, Epoch(1)).await?.as_ref(), Some(&all[1]));
        assert_eq!(attempts::next(conn, build, Epoch(2)).await?, None);
        Ok(())
    })
    .await;
}

async fn tells_whose_log_is_to_be_archived(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        let (_, ended) = insert_build(conn, acme, 1, &[]).await?;
        let (_, running) = insert_build(conn, acme, 2, &[]).await?;
        for build in [ended, running] {
            attempts::assign(conn, build, Epoch(1), worker(), NOW).await?;
            logs::append(conn, build, Epoch(1), 0, b"hello ".to_vec()).await?;
            logs::append(conn, build, Epoch(1), 6, b"world".to_vec()).await?;
        }
        attempts::end(conn, ended, Epoch(1), FailureKind::Transient, "lost", NOW).await?;
        assert_eq!(attempts::unarchived(conn).await?, [(ended, Epoch(1))]);
        attempts::set_log_frames(conn, ended, Epoch(1), vec![1, 2, 3], 11).await?;
        logs::delete_chunks(conn, ended, Epoch(1)).await?;
        assert!(attempts::unarchived(conn).await?.is_empty());
        assert_eq!(attempts::lookup(conn, ended, None).await?.unwrap().log_frames, Some(vec![1, 2, 3]));
        Ok(())
    })
    .await;
}
