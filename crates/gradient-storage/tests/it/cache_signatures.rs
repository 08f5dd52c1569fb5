use gradient_domain::{CacheKeyId, OrganizationId};
use gradient_storage::{
    Conn,
    cache_keys::{self, CacheKey},
    cache_paths::{self, NewCachePath},
    cache_signatures,
};

use crate::fixtures::*;

gradient_test_support::both_databases!(are_wanted_of_however_many_keys_there_are);

/// As many keys as workers announce may be more than a query takes values.
async fn are_wanted_of_however_many_keys_there_are(url: &str) {
    with(url, async |conn: &mut Conn| {
        let cache = insert_cache(conn, "store").await?;
        let key = CacheKey {
            id: CacheKeyId::new(),
            cache,
            name: "workers-1".to_owned(),
            public_key: 39_999_u32.to_be_bytes().repeat(8),
            secret_key_sealed: None,
            created_at: NOW,
            primary_since: NOW,
            retired_at: None,
            organization: None::<OrganizationId>,
            wanted_after: None,
        };
        cache_keys::insert(conn, &key).await?;
        let announced: Vec<Vec<u8>> = (0..40_000_u32).map(|number| number.to_be_bytes().repeat(8)).collect();
        assert_eq!(cache_signatures::wanting(conn, &announced).await?, []);
        let nar_hash = insert_nar(conn, 1).await?;
        let new = NewCachePath {
            path: path(1, "hello"),
            nar_hash,
            references: Vec::new(),
            deriver: None,
            content_address: None,
            foreign_signatures: Vec::new(),
        };
        cache_paths::publish(conn, cache, vec![new], NOW).await?;
        assert_eq!(cache_signatures::wanting(conn, &announced).await?, [key]);
        Ok(())
    })
    .await;
}
