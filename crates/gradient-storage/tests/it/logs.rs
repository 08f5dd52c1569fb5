use gradient_domain::Epoch;
use gradient_storage::{Conn, logs};

use crate::fixtures::*;

gradient_test_support::both_databases!(grows_without_gaps);

async fn grows_without_gaps(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        let (_, build) = insert_build(conn, acme, 1, &[]).await?;
        let first = Epoch(1);
        assert_eq!(logs::length(conn, build, first).await?, 0);
        assert!(logs::read(conn, build, first, 0, 100).await?.is_empty());
        assert_eq!(logs::append(conn, build, first, 3, b"too early".to_vec()).await?, 0);
        assert_eq!(logs::append(conn, build, first, 0, b"0123".to_vec()).await?, 4);
        assert_eq!(logs::append(conn, build, first, 0, b"0123".to_vec()).await?, 4, "sent twice");
        assert_eq!(logs::append(conn, build, first, 1, b"12".to_vec()).await?, 4, "a part of it sent twice");
        assert_eq!(logs::append(conn, build, first, 2, b"23\xff5".to_vec()).await?, 6, "sent twice, with more behind it");
        assert_eq!(logs::append(conn, build, first, 9, b"gap".to_vec()).await?, 6);
        assert_eq!(logs::append(conn, build, first, 6, Vec::new()).await?, 6);
        assert_eq!(logs::append(conn, build, first, 6, b"6789".to_vec()).await?, 10);

        assert_eq!(logs::length(conn, build, first).await?, 10);
        for from in 0..=11 {
            for limit in 0..=11 {
                let whole = b"0123\xff56789";
                let end = (from + limit).min(whole.len());
                let expected = whole.get(from..end).unwrap_or_default();
                let read = logs::read(conn, build, first, from as u64, limit as u64).await?;
                assert_eq!(read, expected, "{limit} bytes from {from}");
            }
        }
        assert_eq!(logs::read(conn, build, first, 8, u64::MAX).await?, b"89");
        assert!(logs::read(conn, build, Epoch(2), 0, 100).await?.is_empty());
        assert_eq!(logs::delete_chunks(conn, build, first).await?, 3);
        assert_eq!(logs::length(conn, build, first).await?, 0);
        Ok(())
    })
    .await;
}
