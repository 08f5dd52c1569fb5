use gradient_domain::SubscriptionMode;
use gradient_storage::{
    Conn,
    cache_paths::{self, NewCachePath},
    derivations,
    realisations::{self, Realisation},
    remains,
    subscriptions::{self, Subscription},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(what_was_built_last_counts, what_no_derivation_and_no_cache_has_goes);

async fn what_was_built_last_counts(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, other) = (insert_organization(conn, "acme").await?, insert_organization(conn, "other").await?);
        let of = |name: &str, number| Realisation { name: name.to_owned(), path: path(number, "out") };
        realisations::set_many(conn, acme, vec![of("a", 1), of("b", 1), of("c", 2)], NOW).await?;
        realisations::set_many(conn, acme, vec![of("b", 3)], NOW).await?;
        let asked = [path(1, "out"), path(3, "out"), path(4, "out")];
        assert_eq!(realisations::of_paths(conn, acme, &asked).await?, [of("a", 1), of("b", 3)]);
        assert!(realisations::of_paths(conn, other, &asked).await?.is_empty(), "nothing is shared across organizations");
        Ok(())
    })
    .await;
}

async fn what_no_derivation_and_no_cache_has_goes(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, other) = (insert_organization(conn, "acme").await?, insert_organization(conn, "other").await?);
        let kept = derivation(acme, 1, &[]);
        let id = kept.id;
        derivations::insert_many(conn, vec![kept]).await?;
        derivations::set_output_paths(conn, id, &[("dev".to_owned(), path(1, "out"))]).await?;
        let (cache, strange) = (insert_cache(conn, "main").await?, insert_cache(conn, "strange").await?);
        let subscription = Subscription { organization: acme, cache, mode: SubscriptionMode::ReadWrite, created_at: NOW };
        subscriptions::insert(conn, &subscription).await?;
        let nar_hash = insert_nar(conn, 1).await?;
        let new = |number| NewCachePath {
            path: path(number, "out"),
            nar_hash,
            references: vec![],
            deriver: None,
            content_address: None,
            foreign_signatures: vec![],
        };
        cache_paths::publish(conn, cache, vec![new(2)], NOW).await?;
        cache_paths::publish(conn, strange, vec![new(3)], NOW).await?;
        let of = |name: &str, number| Realisation { name: name.to_owned(), path: path(number, "out") };
        realisations::set_many(conn, acme, vec![of("kept", 1), of("published", 2), of("gone", 3), of("gone too", 4)], NOW)
            .await?;
        realisations::set_many(conn, acme, vec![of("set just now", 5)], later(2)).await?;
        // Whatever others have says nothing of theirs.
        realisations::set_many(conn, other, vec![of("gone", 1)], NOW).await?;

        let mut found = remains::orphaned_realisations(conn, later(1), None, 3).await?;
        found.extend(remains::orphaned_realisations(conn, later(1), found.last(), 3).await?);
        let names: Vec<_> = found.iter().map(|each| (each.organization, each.name.as_str())).collect();
        let mut expected = vec![(acme, "gone"), (acme, "gone too"), (acme, "published"), (other, "gone")];
        expected.sort();
        assert_eq!(names, expected);

        // One of them is set again before it goes.
        realisations::set_many(conn, acme, vec![of("gone too", 4)], later(2)).await?;
        assert_eq!(remains::delete_realisations(conn, &found, later(1)).await?, 2);
        let asked = [1, 2, 3, 4, 5].map(|number| path(number, "out"));
        let left = [of("gone too", 4), of("kept", 1), of("published", 2), of("set just now", 5)];
        assert_eq!(realisations::of_paths(conn, acme, &asked).await?, left);
        assert!(realisations::of_paths(conn, other, &asked).await?.is_empty());
        Ok(())
    })
    .await;
}
