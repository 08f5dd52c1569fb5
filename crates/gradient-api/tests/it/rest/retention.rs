//! What caches keep: statistics, settings, pins and collections.

mod world;

use gradient_domain::{CacheId, Moment};
use serde_json::{Value, json};

use crate::{
    cache_root::published::{APP, HELLO, publish_app, publish_hello},
    server::Server,
};
use world::{DAY, World};

gradient_test_support::both_databases!(
    what_is_asked_of_a_cache_is_counted,
    retention_is_a_setting,
    a_pin_names_a_path_that_the_cache_has,
    a_dry_run_tells_what_would_go,
    what_is_not_fetched_goes_with_all_that_needs_it,
    what_is_too_much_goes,
    evaluations_keep_what_they_have_published,
    caches_collect_themselves,
    what_comes_while_a_collection_runs_stays,
    what_has_gone_comes_again,
    collections_and_claims_take_turns,
);

fn id(answer: &Value) -> CacheId {
    answer.as_str().unwrap().parse().unwrap()
}

fn hash(path: &str) -> &str {
    path.split('-').next().unwrap()
}

async fn what_is_asked_of_a_cache_is_counted(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    let cache = id(&alice.cache("main", true).await);
    let statistics = async || server.anonymous().get("/caches/main/stats").await.message();
    let nothing = json!({"paths": 0, "bytes_stored": 0, "bytes_saved": 0, "hits": 0, "misses": 0, "bytes_served": 0});
    assert_eq!(statistics().await, nothing);

    let hello = publish_hello(&server, cache).await;
    let app = publish_app(&server, cache).await;
    // The same NAR as another path.
    let copy = "1hzk7wmjyw2n2jbkjnxq2qj1jvfkpkdr-hello";
    let mut nar = gradient_nix::nar::Encoder::new(Vec::new()).unwrap();
    nar.regular(None, false, b"hello\n").unwrap();
    crate::cache_root::published::publish(&server, cache, copy, &nar.finish().unwrap(), &[]).await;
    let stored = hello.upload.file_size + app.upload.file_size;
    let saved = 2 * hello.upload.nar.nar_size + app.upload.nar.nar_size - stored;

    let ask = async |path: String| server.http.get(format!("{}/cache/main/{path}", server.url)).send().await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(format!("{}.narinfo", hash(HELLO))).await.status(), 200);
    }
    assert_eq!(ask(format!("{}.narinfo?json", hash(APP))).await.status(), 200);
    for _ in 0..2 {
        assert_eq!(ask("00000000000000000000000000000000.narinfo".to_owned()).await.status(), 404);
    }
    let nar = format!("nar/{}.nar.zst", app.upload.nar.nar_hash.to_nix32());
    assert_eq!(ask(nar.clone()).await.bytes().await.unwrap().len(), app.compressed.len());
    let part = server.http.get(format!("{}/cache/main/{nar}", server.url)).header("range", "bytes=0-9");
    assert_eq!(part.send().await.unwrap().bytes().await.unwrap().len(), 10);
    server.http.head(format!("{}/cache/main/{nar}", server.url)).send().await.unwrap();
    let expected = json!({
        "paths": 3, "bytes_stored": stored, "bytes_saved": saved, "hits": 4, "misses": 2, "bytes_served": app.upload.file_size + 10,
    });
    assert_eq!(statistics().await, expected, "before it is written down");
    server.engine.write_fetches().await.unwrap();
    assert_eq!(statistics().await, expected, "and after");
    assert_eq!(ask(format!("{}.narinfo", hash(HELLO))).await.status(), 200);
    assert_eq!(statistics().await["hits"], json!(5));
    server.engine.write_fetches().await.unwrap();
    assert_eq!(statistics().await["hits"], json!(5));

    alice.cache("hidden", false).await;
    assert_eq!(server.anonymous().get("/caches/hidden/stats").await.error(), (401, "unauthorized"));
    let other = server.signed_in("bob").await;
    assert_eq!(server.with(&other).get("/caches/hidden/stats").await.error(), (404, "not_found"));
}

async fn retention_is_a_setting(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.cache("main", true).await;
    let shown = async || {
        let shown = server.anonymous().get("/caches/main").await.message();
        (shown["retention_days"].clone(), shown["max_bytes"].clone())
    };
    assert_eq!(shown().await, (json!(null), json!(null)));
    alice.patch("/caches/main", json!({"retention_days": 30, "max_bytes": 1_000_000_000_000_i64})).await.message();
    assert_eq!(shown().await, (json!(30), json!(1_000_000_000_000_i64)));
    alice.patch("/caches/main", json!({"retention_days": null})).await.message();
    assert_eq!(shown().await, (json!(null), json!(1_000_000_000_000_i64)));
    for wrong in [
        json!({"retention_days": 0}),
        json!({"retention_days": 36_501}),
        json!({"max_bytes": -1}),
        json!({"max_bytes": 9_007_199_254_740_992_i64}),
        json!({"signing": "worker"}),
        json!({"public_key": "name:AAAA"}),
    ] {
        let refused = alice.patch("/caches/main", wrong.clone()).await;
        assert_eq!(refused.error(), (400, "validation"), "{wrong}");
        let field = wrong.as_object().unwrap().keys().next().unwrap();
        assert!(refused.sentence().contains(field.as_str()), "{refused:?}");
    }
    assert_eq!(server.anonymous().get("/caches/main").await.message()["priority"], json!(40), "nothing of it was done");
}

async fn a_pin_names_a_path_that_the_cache_has(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    let cache = id(&alice.cache("main", true).await);
    alice.cache("second", true).await;
    publish_hello(&server, cache).await;
    let path = "/caches/main/pins";
    let pin = json!({"hash": hash(HELLO)});
    assert_eq!(alice.get(path).await.message()["total"], json!(0));
    assert_eq!(alice.post("/caches/second/pins", pin.clone()).await.error(), (404, "not_found"), "another cache's path");
    assert_eq!(alice.post(path, json!({"hash": hash(APP)})).await.error(), (404, "not_found"));
    for wrong in ["", "x", "e0000000000000000000000000000000", HELLO] {
        assert_eq!(alice.post(path, json!({"hash": wrong})).await.error(), (400, "validation"), "{wrong}");
    }
    assert_eq!(bob.post(path, pin.clone()).await.error(), (403, "forbidden"));
    alice.post(path, pin.clone()).await.message();
    assert_eq!(alice.post(path, pin.clone()).await.error(), (409, "already_exists"));
    let mut shown = server.anonymous().get(path).await.message();
    assert!(shown["items"][0]["created_at"].take().is_string());
    let item = json!({
        "hash": hash(HELLO), "path": format!("/nix/store/{HELLO}"), "created_by": "alice", "created_at": null,
    });
    assert_eq!(shown, json!({"items": [item], "total": 1, "page": 1, "per_page": 50}));
    assert_eq!(alice.get("/caches/main/pins?page=2").await.message()["items"], json!([]));

    let one = format!("{path}/{}", hash(HELLO));
    assert_eq!(bob.delete(&one).await.error(), (403, "forbidden"));
    alice.post("/caches/main/members", json!({"user": "bob", "role": "Write"})).await.message();
    bob.delete(&one).await.message();
    assert_eq!(bob.delete(&one).await.error(), (404, "not_found"));
    assert_eq!(bob.delete(&format!("{path}/x")).await.error(), (404, "not_found"));
}

async fn a_dry_run_tells_what_would_go(database: &str) {
    let world = World::new(database).await;
    world.publish(&[(1, &[]), (2, &[1]), (3, &[])]).await;
    world.set(json!({"retention_days": 1})).await;
    let nothing = world.collect(json!({"dry_run": true})).await;
    assert_eq!((&nothing["dry_run"], &nothing["paths"], &nothing["sample"]), (&json!(true), &json!(0), &json!([])));
    assert_eq!(nothing["kept_paths"], json!(3));

    world.age(&[1, 2], 2 * DAY).await;
    let found = world.collect(json!({"dry_run": true})).await;
    assert_eq!((&found["paths"], &found["kept_paths"]), (&json!(2), &json!(1)));
    let names: Vec<&str> = found["sample"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(names, [format!("/nix/store/{}", World::path(2)), format!("/nix/store/{}", World::path(1))]);
    let bytes: u64 = found["sample"].as_array().unwrap().iter().map(|one| one["bytes"].as_u64().unwrap()).sum();
    assert_eq!(found["bytes"], json!(bytes));
    assert_eq!(world.there_quietly().await, [1, 2, 3], "nothing has gone");

    assert_eq!(world.bob().post("/caches/main/collect", json!({})).await.error(), (403, "forbidden"));
    let gone = world.collect(json!({})).await;
    assert_eq!((&gone["dry_run"], &gone["paths"], &gone["bytes"]), (&json!(false), &json!(2), &json!(bytes)));
    assert_eq!(gone["sample"], found["sample"]);
    assert_eq!(world.there().await, [3]);
    assert_eq!(world.alice().post("/caches/main/collect", json!({"dry_run": "x"})).await.error(), (400, "bad_request"));
}

async fn what_is_not_fetched_goes_with_all_that_needs_it(database: &str) {
    let world = World::new(database).await;
    // 1 ← 2 ← 3, 1 ← 4, 5 ← 6, 7
    world.publish(&[(1, &[]), (2, &[1]), (3, &[2]), (4, &[1, 4]), (5, &[]), (6, &[5]), (7, &[])]).await;
    world.age(&[1, 2, 3, 4, 5, 6, 7], 40 * DAY).await;
    assert_eq!(world.collect(json!({})).await["paths"], json!(0), "without a retention everything stays");
    world.age(&[1, 2, 3, 4, 5, 6, 7], DAY).await;
    world.set(json!({"retention_days": 30})).await;
    // What was fetched long ago is in memory, and something is fetched now.
    for number in [1, 3, 4, 5, 6, 7] {
        assert_eq!(world.narinfo(number).await, 200);
    }
    world.age(&[1, 2, 3, 4, 5, 6, 7], 40 * DAY).await;
    world.narinfo(2).await;
    world.alice().post("/caches/main/pins", json!({"hash": World::hash(6)})).await.message();
    let gone = world.collect(json!({})).await;
    assert_eq!((&gone["paths"], &gone["kept_paths"]), (&json!(3), &json!(4)));
    world.closed().await;
    assert_eq!(world.there().await, [1, 2, 5, 6], "3, 4 and 7 are forgotten");
}

async fn what_is_too_much_goes(database: &str) {
    let world = World::new(database).await;
    world.publish(&[(1, &[]), (2, &[1]), (3, &[]), (4, &[]), (5, &[4])]).await;
    for (number, days) in [(1, 5), (2, 1), (3, 3), (4, 9), (5, 4)] {
        world.age(&[number], days * DAY).await;
    }
    let all = world.collect(json!({"dry_run": true})).await["kept_bytes"].as_u64().unwrap();
    world.set(json!({"max_bytes": all})).await;
    assert_eq!(world.collect(json!({})).await["paths"], json!(0));
    world.set(json!({"max_bytes": all - 1})).await;
    world.collect(json!({})).await;
    assert_eq!(world.there_quietly().await, [1, 2, 3, 4], "4 is needed by 5, which was used last of all that is old");
    world.closed().await;
    world.alice().post("/caches/main/pins", json!({"hash": World::hash(3)})).await.message();
    world.set(json!({"max_bytes": 0})).await;
    assert_eq!(world.collect(json!({})).await["kept_paths"], json!(1));
    assert_eq!(world.there_quietly().await, [3]);
    world.closed().await;
}

async fn evaluations_keep_what_they_have_published(database: &str) {
    let world = World::new(database).await;
    world.publish(&[(1, &[]), (2, &[1]), (3, &[])]).await;
    world.age(&[1, 2, 3], 40 * DAY).await;
    world.evaluation_of(2).await;
    world.set(json!({"retention_days": 30, "max_bytes": 0})).await;
    world.collect(json!({})).await;
    assert_eq!(world.there_quietly().await, [1, 2]);
    world.alice().delete("/orgs/acme").await.message();
    world.collect(json!({})).await;
    assert_eq!(world.there_quietly().await, Vec::<usize>::new());
}

async fn caches_collect_themselves(database: &str) {
    let world = World::new(database).await;
    world.publish(&[(1, &[]), (2, &[1])]).await;
    world.set(json!({"retention_days": 49})).await;
    assert_eq!(world.there_quietly().await, [1, 2]);
    let later = Moment::now().plus(std::time::Duration::from_secs(50 * DAY));
    world.server.engine.reap(later).await.unwrap();
    assert_eq!(world.there_quietly().await, Vec::<usize>::new());
    // The NARs go when nobody else has them.
    let nars = async || {
        let all = async |conn: &mut gradient_storage::Conn| gradient_storage::verification::count(conn).await;
        world.server.storage.read(all).await.unwrap()
    };
    world.server.engine.reap(later).await.unwrap();
    assert_eq!(nars().await, 2);
    world.server.engine.reap(later.plus(std::time::Duration::from_secs(2 * DAY))).await.unwrap();
    assert_eq!(nars().await, 0);
}

async fn what_comes_while_a_collection_runs_stays(database: &str) {
    let world = World::new(database).await;
    let graph: &[(usize, &[usize])] =
        &[(1, &[]), (2, &[1]), (3, &[2]), (4, &[]), (5, &[4]), (6, &[]), (7, &[6]), (8, &[]), (9, &[8]), (10, &[]), (11, &[10])];
    world.publish(graph).await;
    world.set(json!({"retention_days": 30})).await;
    world.age(&(1..=11).collect::<Vec<_>>(), 40 * DAY).await;
    let mut collection = world.begin().await;
    assert_eq!(collection.found().await.unwrap().paths, 11);
    // Something new refers to 2, somebody publishes 5 again, pins 7, and fetches 9.
    world.publish(&[(20, &[2])]).await;
    world.claim(&[(4, &[]), (5, &[4])]).await;
    world.alice().post("/caches/main/pins", json!({"hash": World::hash(7)})).await.message();
    world.narinfo(9).await;
    while collection.step().await.unwrap() {
        world.closed().await;
    }
    drop(collection);
    assert_eq!(world.there_quietly().await, [1, 2, 4, 5, 6, 7, 8, 9, 20]);
}

async fn what_has_gone_comes_again(database: &str) {
    let world = World::new(database).await;
    let graph: &[(usize, &[usize])] = &[(1, &[]), (2, &[1]), (3, &[2])];
    world.publish(graph).await;
    for number in [1, 2, 3] {
        world.narinfo(number).await;
    }
    world.set(json!({"retention_days": 30})).await;
    world.age(&[1, 2, 3], 40 * DAY).await;
    let mut collection = world.begin().await.in_steps_of(1);
    assert!(collection.step().await.unwrap());
    assert_eq!(world.narinfo(3).await, 404, "what was in memory is forgotten");
    world.closed().await;
    world.claim(graph).await;
    while collection.step().await.unwrap() {
        world.closed().await;
    }
    assert_eq!(world.there_quietly().await, [1, 2, 3]);
}

/// Whatever happens in whatever order, what is there can be had with all that it needs.
async fn collections_and_claims_take_turns(database: &str) {
    const PATHS: usize = 24;
    let world = World::new(database).await;
    world.set(json!({"retention_days": 30})).await;
    let mut seed: u64 = 5;
    let mut roll = |sides: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % sides
    };
    let mut graph: Vec<(usize, Vec<usize>)> = Vec::new();
    for number in 1..=PATHS {
        let count = roll(4);
        let mut references: Vec<usize> = (0..count).filter(|_| number > 1).map(|_| 1 + roll(number.max(2) - 1)).collect();
        references.sort_unstable();
        references.dedup();
        graph.push((number, references));
    }
    let closure = |root: usize| {
        let mut all = vec![root];
        let mut next = 0;
        while let Some(number) = all.get(next).copied() {
            let more: Vec<_> = graph[number - 1].1.iter().copied().filter(|reference| !all.contains(reference)).collect();
            all.extend(more);
            next += 1;
        }
        all.iter().map(|number| (*number, graph[number - 1].1.as_slice())).collect::<Vec<_>>()
    };
    let everything: Vec<_> = graph.iter().map(|(number, references)| (*number, references.as_slice())).collect();
    world.publish(&everything).await;
    let (mut removed, mut rounds) = (0, 0);
    while rounds < 12 {
        rounds += 1;
        world.age(&(1..=PATHS).collect::<Vec<_>>(), 40 * DAY).await;
        let mut collection = world.begin().await.in_steps_of(1 + roll(4));
        loop {
            let (root, what) = (1 + roll(PATHS), roll(6));
            let wanted = closure(root);
            let disturb = async {
                match what {
                    0 | 1 => world.claim(&wanted).await,
                    2 => drop(world.alice().post("/caches/main/pins", json!({"hash": World::hash(root)})).await),
                    3 => drop(world.alice().delete(&format!("/caches/main/pins/{}", World::hash(root))).await),
                    4 => drop(world.narinfo(root).await),
                    _ => {}
                }
            };
            // At the same time, as far as the database lets them.
            let (more, ()) = tokio::join!(collection.step(), disturb);
            if what < 2 {
                let there = world.there_quietly().await;
                assert!(
                    wanted.iter().all(|(number, _)| there.contains(number)),
                    "{wanted:?} was claimed, and only {there:?} is there"
                );
            }
            world.closed().await;
            if !more.unwrap() {
                break;
            }
        }
        drop(collection);
        removed += PATHS - world.there_quietly().await.len();
        world.claim(&everything).await;
    }
    assert!(removed > 0);
}
