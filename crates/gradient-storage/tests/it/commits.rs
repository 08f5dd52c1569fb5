use gradient_domain::CommitId;
use gradient_storage::{
    Conn,
    commits::{self, Commit},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(is_claimed_once);

async fn is_claimed_once(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, other) = (insert_organization(conn, "acme").await?, insert_organization(conn, "other").await?);
        let first = commit(acme);
        assert_eq!(commits::claim(conn, &first).await?, first);
        let second = Commit { id: CommitId::new(), message: "another".to_owned(), ..first.clone() };
        assert_eq!(commits::claim(conn, &second).await?, first);
        assert_eq!(commits::lookup_by_hash(conn, acme, &first.repository, &first.hash).await?, Some(first.clone()));
        assert_eq!(commits::lookup_by_hash(conn, other, &first.repository, &first.hash).await?, None);
        assert_eq!(commits::lookup_by_hash(conn, acme, "https://example.com/other.git", &first.hash).await?, None);
        let others = commit(other);
        assert_eq!(commits::claim(conn, &others).await?.id, others.id);
        assert_eq!(commits::find(conn, first.id).await?, first);
        assert_eq!(commits::list(conn, &[first.id, CommitId::new()]).await?, [first]);
        assert_missing(commits::find(conn, second.id).await, "commit");
        Ok(())
    })
    .await;
}
