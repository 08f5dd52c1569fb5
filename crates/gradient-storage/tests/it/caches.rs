use gradient_domain::SubscriptionMode;
use gradient_storage::{
    Conn,
    caches::{self, Cache, CacheChanges},
    subscriptions::{self, Subscription},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(keeps_caches, hides_what_is_deleted, pages_what_is_visible);

async fn keeps_caches(url: &str) {
    with(url, async |conn: &mut Conn| {
        let store = cache("store");
        caches::insert(conn, &store).await?;
        let again = cache("store");
        exists(conn, "cache", async move |conn: &mut Conn| caches::insert(conn, &again).await).await;
        assert_eq!(caches::find(conn, store.id).await?, store);
        let changes = CacheChanges { active: Some(false), priority: Some(1), ..CacheChanges::default() };
        caches::set(conn, store.id, &changes).await?;
        let after = caches::lookup_by_name(conn, &store.name).await?;
        assert_eq!(after, Some(Cache { active: false, priority: 1, ..store }));
        Ok(())
    })
    .await;
}

async fn hides_what_is_deleted(url: &str) {
    with(url, async |conn: &mut Conn| {
        let store = Cache { public: true, ..cache("store") };
        let acme = insert_organization(conn, "acme").await?;
        caches::insert(conn, &store).await?;
        let mode = SubscriptionMode::ReadWrite;
        subscriptions::insert(conn, &Subscription { organization: acme, cache: store.id, mode, created_at: NOW }).await?;
        caches::set_deleted(conn, store.id, NOW).await?;
        assert_missing(caches::find(conn, store.id).await, "cache");
        assert_eq!(caches::lookup_by_name(conn, &store.name).await?, None);
        assert_eq!(caches::page(conn, &[store.id], 10, 0).await?, (vec![], 0));
        assert!(subscriptions::writable_caches(conn, acme).await?.is_empty());
        caches::insert(conn, &cache("store")).await
    })
    .await;
}

async fn pages_what_is_visible(url: &str) {
    with(url, async |conn: &mut Conn| {
        caches::insert(conn, &Cache { public: true, ..cache("public-one") }).await?;
        insert_cache(conn, "unseen").await?;
        let seen = [insert_cache(conn, "member").await?, insert_cache(conn, "read").await?];
        let names =
            |(rows, total): (Vec<Cache>, i64)| (rows.iter().map(|row| row.name.to_string()).collect::<Vec<_>>().join(" "), total);
        assert_eq!(names(caches::page(conn, &seen, 10, 0).await?), ("member public-one read".to_owned(), 3));
        assert_eq!(names(caches::page(conn, &seen, 1, 1).await?), ("public-one".to_owned(), 3));
        assert_eq!(names(caches::page(conn, &[], 10, 0).await?), ("public-one".to_owned(), 1));
        Ok(())
    })
    .await;
}
