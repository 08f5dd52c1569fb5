use gradient_nix::NarHash;
use gradient_storage::{
    Conn,
    cache_paths::{self, NewCachePath},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(are_claims_of_one_cache);

async fn are_claims_of_one_cache(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (store, other) = (insert_cache(conn, "store").await?, insert_cache(conn, "other").await?);
        let nar_hash = insert_nar(conn, 1).await?;
        let new = |number| NewCachePath {
            path: path(number, "hello"),
            nar_hash,
            references: vec![path(number, "hello"), path(9, "glibc")],
            deriver: None,
            content_address: None,
            foreign_signatures: Vec::new(),
        };
        assert_eq!(cache_paths::publish(conn, store, vec![new(1), new(2)], NOW).await?.new, 2);
        assert_eq!(cache_paths::publish(conn, store, vec![new(2), new(3)], NOW).await?.new, 1);
        let hash = path(1, "hello").hash();
        let found = cache_paths::lookup_by_hash(conn, store, hash).await?.unwrap();
        assert_eq!((found.path.clone(), found.nar_size, found.file_size), (path(1, "hello"), 1000, 300));
        assert_eq!(found.references, new(1).references);
        assert_eq!(cache_paths::lookup_by_hash(conn, other, hash).await?, None, "another cache's");
        assert_eq!(cache_paths::lookup_by_nar(conn, store, nar_hash).await?.unwrap().path, path(1, "hello"));
        assert_eq!(cache_paths::lookup_by_nar(conn, other, nar_hash).await?, None);
        assert_eq!(cache_paths::lookup_by_nar(conn, store, NarHash([9; 32])).await?, None);
        let asked = [1, 3, 4].map(|number| path(number, "hello").hash());
        let known = cache_paths::known(conn, store, &asked).await?;
        assert!(known.contains(&asked[0]) && known.contains(&asked[1]) && known.len() == 2);
        cache_paths::set_foreign_signatures(conn, store, hash, vec!["another-1:AAAA".to_owned()]).await?;
        let found = cache_paths::lookup_by_hash(conn, store, hash).await?.unwrap();
        assert_eq!(found.foreign_signatures, ["another-1:AAAA"]);
        assert_missing(cache_paths::set_foreign_signatures(conn, other, hash, Vec::new()).await, "published path");
        Ok(())
    })
    .await;
}
