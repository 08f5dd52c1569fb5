use std::collections::BTreeSet;

use gradient_domain::{BuildTimes, EntryPointId, Publish, SubscriptionMode};
use gradient_nix::{NarHash, StorePathHash};
use gradient_storage::{
    Conn, StorageError,
    cache_paths::{self, NewCachePath},
    cache_pins::{self, Pin},
    cache_retention,
    cache_statistics::{self, Asked, Holdings},
    caches, nars, organizations, paths, projects,
    subscriptions::{self, Subscription},
    verification,
};

use crate::fixtures::*;

gradient_test_support::both_databases!(
    claims_are_read_by_hash,
    a_claim_is_noted_where_nothing_refers_to_it,
    kept_outputs_are_those_of_evaluations_that_are_there,
    pins_outlive_their_paths,
    statistics_add_up,
    a_quarantined_nar_is_nobodys_until_it_comes_again,
);

fn new(number: usize, nar_hash: NarHash, references: &[usize]) -> NewCachePath {
    NewCachePath {
        path: path(number, "hello"),
        nar_hash,
        references: references.iter().map(|number| path(*number, "hello")).collect(),
        deriver: None,
        content_address: None,
        foreign_signatures: vec![],
    }
}

fn hash(number: usize) -> StorePathHash {
    path(number, "hello").hash()
}

async fn claims_are_read_by_hash(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (cache, other) = (insert_cache(conn, "main").await?, insert_cache(conn, "other").await?);
        let nar = insert_nar(conn, 1).await?;
        cache_paths::publish(conn, cache, vec![new(3, nar, &[3, 1]), new(1, nar, &[]), new(2, nar, &[1])], NOW).await?;
        cache_paths::publish(conn, other, vec![new(4, nar, &[])], NOW).await?;
        let first = cache_retention::claims(conn, cache, None, 2).await?;
        let rest = cache_retention::claims(conn, cache, Some(first[1].hash), 2).await?;
        let hashes: Vec<_> = first.iter().chain(&rest).map(|claim| claim.hash).collect();
        assert_eq!(hashes, [1, 2, 3].map(hash));
        assert_eq!(rest[0].references.0, [hash(3), hash(1)]);
        assert_eq!((rest[0].file_size, rest[0].nar_hash, rest[0].claimed_at, rest[0].last_fetched_at), (300, nar, NOW, None));
        assert_eq!(cache_retention::names(conn, cache, &[hash(2), hash(4)]).await?, [path(2, "hello")]);

        cache_paths::set_fetched(conn, cache, &[hash(1), hash(2)], NOW, later(1)).await?;
        cache_paths::set_fetched(conn, cache, &[hash(2), hash(3)], later(1), later(2)).await?;
        let mut uses = cache_retention::uses(conn, cache, &[1, 2, 3, 4].map(hash)).await?;
        uses.sort();
        let expected = [(hash(1), NOW, Some(later(1))), (hash(2), NOW, Some(later(1))), (hash(3), NOW, Some(later(2)))];
        assert_eq!(uses, expected, "it was noted a short time ago");
        assert_eq!(cache_retention::delete_claims(conn, cache, &[1, 4].map(hash)).await?, 1);
        caches::set_deleted(conn, cache, NOW).await?;
        assert_eq!(cache_retention::caches_with_limits(conn).await?, []);
        let limited = caches::CacheChanges { retention_days: Some(Some(3)), ..caches::CacheChanges::default() };
        caches::set(conn, other, &limited).await?;
        assert_eq!(cache_retention::caches_with_limits(conn).await?, [other]);
        Ok(())
    })
    .await;
}

async fn a_claim_is_noted_where_nothing_refers_to_it(url: &str) {
    with(url, async |conn: &mut Conn| {
        let cache = insert_cache(conn, "main").await?;
        let nar = insert_nar(conn, 1).await?;
        let closure = || vec![new(1, nar, &[]), new(2, nar, &[1, 2]), new(3, nar, &[2])];
        assert_eq!(cache_paths::publish(conn, cache, closure(), NOW).await?.new, 3);
        assert_eq!(cache_paths::publish(conn, cache, closure(), later(5)).await?.new, 0);
        let claimed = |claim: &cache_retention::Claim| claim.claimed_at;
        let claims = cache_retention::claims(conn, cache, None, 10).await?;
        assert_eq!(claims.iter().map(claimed).collect::<Vec<_>>(), [NOW, NOW, later(5)]);
        let mut more = closure();
        more.push(new(4, nar, &[1]));
        cache_paths::publish(conn, cache, more, later(9)).await?;
        let since = cache_retention::claimed_since(conn, cache, later(6)).await?;
        let since: BTreeSet<_> = since.into_iter().map(|(hash, at, references)| (hash, at, references.0)).collect();
        assert_eq!(since, BTreeSet::from([(hash(3), later(9), vec![hash(2)]), (hash(4), later(9), vec![hash(1)])]));
        Ok(())
    })
    .await;
}

async fn kept_outputs_are_those_of_evaluations_that_are_there(url: &str) {
    use gradient_storage::evaluations::{self, NewEntryPoint};
    with(url, async |conn: &mut Conn| {
        let (organization, project) = insert_project(conn).await?;
        let cache = insert_cache(conn, "main").await?;
        let kept = async |conn: &mut Conn| {
            let outputs = cache_retention::kept_outputs(conn, organization).await?;
            Ok::<_, StorageError>(outputs.into_iter().map(|output| output.0).collect::<BTreeSet<_>>())
        };
        let output = |number: usize| path(number + 1_000_000, "package").hash();
        let (_, root) = insert_build(conn, organization, 1, &[]).await?;
        let (_, inner) = insert_build(conn, organization, 2, &[]).await?;
        let (_, everything) = insert_build(conn, organization, 3, &[]).await?;
        let runtime = insert_evaluation(conn, organization, Some(project), Publish::Runtime).await?;
        let all = insert_evaluation(conn, organization, None, Publish::All).await?;
        gradient_storage::builds::link(conn, runtime, &[root, inner], NOW).await?;
        gradient_storage::builds::link(conn, all, &[everything], NOW).await?;
        let point = |build| NewEntryPoint {
            id: EntryPointId::new(),
            attribute: "a".to_owned(),
            build: Some(build),
            error: None,
            times: BuildTimes::default(),
        };
        evaluations::insert_entry_points(conn, runtime, vec![point(root)], NOW).await?;
        assert_eq!(kept(conn).await?, BTreeSet::from([output(1), output(3)]));
        projects::set_deleted(conn, project, NOW).await?;
        assert_eq!(kept(conn).await?, BTreeSet::from([output(3)]));

        assert_eq!(cache_retention::publishers(conn, cache).await?, []);
        let subscribe = |mode| Subscription { organization, cache, mode, created_at: NOW };
        subscriptions::insert(conn, &subscribe(SubscriptionMode::ReadOnly)).await?;
        assert_eq!(cache_retention::publishers(conn, cache).await?, []);
        subscriptions::delete(conn, organization, cache).await?;
        subscriptions::insert(conn, &subscribe(SubscriptionMode::ReadWrite)).await?;
        assert_eq!(cache_retention::publishers(conn, cache).await?, [organization]);
        organizations::set_deleted(conn, organization, NOW).await?;
        assert_eq!(cache_retention::publishers(conn, cache).await?, []);
        Ok(())
    })
    .await;
}

async fn pins_outlive_their_paths(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (cache, other) = (insert_cache(conn, "main").await?, insert_cache(conn, "other").await?);
        let alice = insert_user(conn, "alice").await?;
        let nar = insert_nar(conn, 1).await?;
        cache_paths::publish(conn, cache, vec![new(1, nar, &[])], NOW).await?;
        let pin = |number| Pin { cache, hash: hash(number), created_by: Some(alice), created_at: NOW };
        cache_pins::insert(conn, &pin(2)).await?;
        cache_pins::insert(conn, &pin(1)).await?;
        let again = pin(1);
        exists(conn, "pin", async move |conn: &mut Conn| cache_pins::insert(conn, &again).await).await;
        let (page, total) = cache_pins::page(conn, cache, 10, 0).await?;
        assert_eq!((page, total), (vec![(pin(1), Some(path(1, "hello"))), (pin(2), None)], 2));
        assert_eq!(cache_pins::page(conn, cache, 1, 1).await?.0, [(pin(2), None)]);
        assert_eq!(cache_pins::page(conn, other, 10, 0).await?, (vec![], 0));
        assert_eq!(cache_pins::pinned(conn, cache, &[2, 3].map(hash)).await?, [hash(2)]);
        cache_pins::delete(conn, cache, hash(2)).await?;
        assert_missing(cache_pins::delete(conn, cache, hash(2)).await, "pin");
        assert_eq!(cache_pins::hashes(conn, cache).await?, [hash(1)]);
        Ok(())
    })
    .await;
}

async fn statistics_add_up(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (cache, other) = (insert_cache(conn, "main").await?, insert_cache(conn, "other").await?);
        assert_eq!(cache_statistics::holdings(conn, cache).await?, Holdings::default());
        let (one, two) = (insert_nar(conn, 1).await?, insert_nar(conn, 2).await?);
        cache_paths::publish(conn, cache, vec![new(1, one, &[]), new(2, one, &[]), new(3, two, &[])], NOW).await?;
        cache_paths::publish(conn, other, vec![new(4, one, &[])], NOW).await?;
        let expected = Holdings { paths: 3, nar_bytes: 3000, file_bytes: 600 };
        assert_eq!(cache_statistics::holdings(conn, cache).await?, expected);
        let asked = Asked { hits: 3, misses: 2, bytes_served: 1 };
        cache_statistics::add(conn, cache, asked).await?;
        cache_statistics::add(conn, cache, asked).await?;
        assert_eq!(cache_statistics::asked(conn, cache).await?, Asked { hits: 6, misses: 4, bytes_served: 2 });
        assert_eq!(cache_statistics::asked(conn, other).await?, Asked::default());
        cache_statistics::add(conn, gradient_domain::CacheId::new(), asked).await?;
        Ok(())
    })
    .await;
}

async fn a_quarantined_nar_is_nobodys_until_it_comes_again(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (cache, organization) = (insert_cache(conn, "main").await?, insert_organization(conn, "acme").await?);
        let (nar, well) = (insert_nar(conn, 1).await?, insert_nar(conn, 2).await?);
        cache_paths::publish(conn, cache, vec![new(1, nar, &[]), new(2, well, &[])], NOW).await?;
        let hello = path(1, "hello");
        let row = paths::NewOrganizationPath {
            path: hello.clone(),
            nar_hash: nar,
            references: vec![],
            deriver: None,
            content_address: None,
        };
        paths::insert_many(conn, organization, vec![row], NOW).await?;
        assert_eq!(verification::count(conn).await?, 2);
        assert_eq!(verification::newest_quarantine(conn).await?, None);
        verification::quarantine(conn, nar, later(1)).await?;
        assert_eq!(verification::newest_quarantine(conn).await?, Some(later(1)));
        assert_eq!(verification::hidden_claims(conn, later(1), None, 10).await?, [(cache, hash(1))]);
        assert_eq!(verification::hidden_claims(conn, later(1), Some((cache, hash(1))), 10).await?, []);
        assert_eq!(verification::hidden_claims(conn, later(2), None, 10).await?, []);

        assert_eq!(cache_paths::lookup_by_hash(conn, cache, hash(1)).await?, None);
        assert_eq!(cache_paths::lookup_by_nar(conn, cache, nar).await?, None);
        assert_eq!(cache_paths::known(conn, cache, &[1, 2].map(hash)).await?.len(), 1);
        assert_eq!(paths::find_many(conn, organization, std::slice::from_ref(&hello)).await?, []);
        assert_eq!(paths::missing(conn, organization, std::slice::from_ref(&hello)).await?, std::slice::from_ref(&hello));

        let file_hash = NarHash([77; 32]);
        let again = nars::NewNar { nar_hash: nar, nar_size: 1000, file_hash, file_size: 301, created_at: later(2) };
        nars::claim(conn, again).await?;
        let found = cache_paths::lookup_by_hash(conn, cache, hash(1)).await?.unwrap();
        assert_eq!((found.file_hash, found.file_size), (file_hash, 301));
        assert_eq!(paths::find_many(conn, organization, &[hello]).await?.len(), 1);
        nars::claim(conn, nars::NewNar { file_hash: NarHash([78; 32]), ..again }).await?;
        assert_eq!(nars::lookup(conn, nar).await?.unwrap().file_hash, file_hash, "the first one stays");
        // What was another content before gives way.
        verification::quarantine(conn, well, NOW).await?;
        assert_eq!(cache_paths::publish(conn, cache, vec![new(2, nar, &[])], NOW).await?.new, 1);
        assert_eq!(cache_paths::lookup_by_hash(conn, cache, hash(2)).await?.unwrap().nar_hash, nar);
        assert_eq!(verification::page(conn, Some(nar), 10).await?.len(), 1);
        assert_eq!(verification::known(conn, &[nar, NarHash([9; 32])]).await?, [nar]);
        Ok(())
    })
    .await;
}
