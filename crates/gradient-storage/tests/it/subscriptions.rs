use gradient_domain::{BuiltInRole, RoleScope, SubscriptionMode};
use gradient_storage::{
    Conn, organizations, roles,
    subscriptions::{self, Subscription},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(tells_readers_from_writers);

async fn tells_readers_from_writers(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, other) = (insert_organization(conn, "acme").await?, insert_organization(conn, "other").await?);
        let (ada, eve) = (insert_user(conn, "ada").await?, insert_user(conn, "eve").await?);
        let view = roles::built_in(RoleScope::Organization, BuiltInRole::View);
        organizations::insert_member(conn, acme, ada, view, NOW).await?;
        organizations::insert_member(conn, other, eve, view, NOW).await?;
        let (a, b, c) = (insert_cache(conn, "a").await?, insert_cache(conn, "b").await?, insert_cache(conn, "c").await?);
        let subscription = |organization, cache, mode| Subscription { organization, cache, mode, created_at: NOW };
        subscriptions::insert(conn, &subscription(acme, c, SubscriptionMode::WriteOnly)).await?;
        subscriptions::insert(conn, &subscription(acme, b, SubscriptionMode::ReadOnly)).await?;
        subscriptions::insert(conn, &subscription(acme, a, SubscriptionMode::ReadWrite)).await?;
        subscriptions::insert(conn, &subscription(other, b, SubscriptionMode::WriteOnly)).await?;
        let twice = subscription(acme, a, SubscriptionMode::ReadOnly);
        exists(conn, "subscription", async move |conn: &mut Conn| subscriptions::insert(conn, &twice).await).await;

        let listed: Vec<_> = subscriptions::list(conn, acme).await?.iter().map(|one| (one.cache, one.mode)).collect();
        assert_eq!(listed, [(a, SubscriptionMode::ReadWrite), (b, SubscriptionMode::ReadOnly), (c, SubscriptionMode::WriteOnly)]);
        assert_eq!(subscriptions::writable_caches(conn, acme).await?, [a, c]);
        assert_eq!(subscriptions::readers(conn, b).await?, [acme]);
        let mut readable = subscriptions::readable(conn, ada).await?;
        readable.sort();
        assert_eq!(readable, [(a, acme), (b, acme)]);
        assert!(subscriptions::readable(conn, eve).await?.is_empty());
        subscriptions::delete(conn, acme, b).await?;
        assert_missing(subscriptions::delete(conn, acme, b).await, "subscription");
        assert!(subscriptions::readers(conn, b).await?.is_empty());
        Ok(())
    })
    .await;
}
