//! Upstreams that lie, are silent or dead, or have a part only.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::{
    World, in_two_frames, large, narinfo,
    origin::{Manner, Origin},
};
use crate::cache_root::{
    uploading::world::{Nar, nar_of, path_of},
    upstreams::{look_into, until},
};

gradient_test_support::both_databases!(
    what_an_upstream_lies_about_is_never_the_caches,
    another_upstream_is_believed_then,
    who_is_dead_is_let_alone,
    who_is_silent_is_given_up,
    what_refers_to_nothing_that_can_be_had_is_not_served,
    a_nar_may_be_somewhere_else,
);

/// What a narinfo says that is not true.
type Lie = fn(&mut gradient_cache_protocol::PathInfo);

async fn what_an_upstream_lies_about_is_never_the_caches(database: &str) {
    let world = World::start(database).await;
    let small = |name: &str| nar_of(name.as_bytes());
    let other = small("something else");
    let flipped = |mut bytes: Vec<u8>| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        bytes
    };
    let big = large();
    let mut cases: Vec<(&str, Nar, Manner)> = Vec::new();
    for (name, manner) in [
        ("another", Manner::Instead(other.sent.clone())),
        ("nothing", Manner::Instead(Vec::new())),
        ("page", Manner::Instead(b"<html>".to_vec())),
        ("flipped", Manner::Instead(flipped(small("flipped").sent))),
        ("padded", Manner::Instead([small("padded").sent.as_slice(), b"x"].concat())),
        ("recompressed", Manner::Instead(in_two_frames(&small("recompressed").bytes))),
        ("endless", Manner::Endless),
    ] {
        cases.push((name, small(name), manner));
    }
    for (name, manner) in [
        ("large-flipped", Manner::Instead(flipped(big.sent.clone()))),
        ("large-cut", Manner::Instead(big.sent[..3 << 20].to_vec())),
        ("large-endless", Manner::Endless),
        ("large-torn", Manner::Torn(3 << 20)),
    ] {
        cases.push((name, big.clone(), manner));
    }
    for (name, nar, manner) in cases {
        let path = world.origin.offer(name, &nar, &[]);
        let url = world.url_of(&path).await;
        world.origin.behave(manner);
        let (status, whole) = world.fetch(&url).await;
        // Of a large one the beginning may have been sent; its end never is.
        let is_refused = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::NOT_FOUND);
        assert!(is_refused || (whole.is_none() && nar.sent.len() > 1 << 20), "{name}: {status}");
        until(async || world.server.engine.pulling() == 0).await;
        assert!(!world.has(&path).await, "{name}");
        assert_eq!(world.stored(), 0, "{name}");
        world.origin.behave(Manner::Good);
    }
    // What is signed, and not true.
    let lies: [(&str, Lie); 6] = [
        ("larger", |info| info.nar_size += 1),
        ("smaller", |info| info.nar_size -= 1),
        ("file-larger", |info| info.file_size = info.file_size.map(|size| size + 1)),
        ("file-other", |info| info.file_hash = Some(info.nar_hash)),
        ("refers", |info| info.references = [path_of("never-mentioned")].into()),
        ("addressed", |info| info.content_address = Some(Origin::address(&nar_of(b"x")))),
    ];
    world.origin.offer("never-mentioned", &small("never-mentioned"), &[]);
    for (name, lie) in lies {
        let path = world.origin.offer_as(name, &small(name), &[], lie);
        let url = world.url_of(&path).await;
        assert_eq!(world.fetch(&url).await.0, StatusCode::SERVICE_UNAVAILABLE, "{name}");
        until(async || world.server.engine.pulling() == 0).await;
        assert!(!world.has(&path).await, "{name}");
        assert_eq!(world.stored(), 0, "{name}");
        assert_eq!(world.get(&narinfo(&path)).await.0, StatusCode::NOT_FOUND, "{name}: it is not believed again soon");
    }
}

async fn another_upstream_is_believed_then(database: &str) {
    let world = World::start(database).await;
    let nar = nar_of(b"hello\n");
    let path = world.origin.offer("hello", &nar, &[]);
    let url = world.url_of(&path).await;
    let second = Origin::start("second");
    second.offer("hello", &nar, &[]);
    look_into(&world.server, "front", &second.url, &second.public_key).await;
    world.origin.behave(Manner::Instead(b"something else".to_vec()));
    // Whichever answers first; after one attempt it is the other.
    let mut attempts = Vec::new();
    while attempts.last() != Some(&StatusCode::OK) {
        assert!(attempts.len() < 3, "{attempts:?}");
        attempts.push(world.fetch(&url).await.0);
    }
    world.until_it_has(&path).await;
    assert!(world.get(&narinfo(&path)).await.1.contains("Sig: second-1:"));
}

async fn who_is_dead_is_let_alone(database: &str) {
    let world = World::start(database).await;
    let mut urls = Vec::new();
    for number in 0..4 {
        let path = world.origin.offer(&format!("hello-{number}"), &nar_of(format!("{number}").as_bytes()), &[]);
        urls.push((world.url_of(&path).await, path));
    }
    world.origin.behave(Manner::Dead);
    for (url, _) in &urls[..3] {
        assert_eq!(world.fetch(url).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(world.origin.sent(), 3);
    let unknown = path_of("unknown");
    let begun = Instant::now();
    assert_eq!(world.get(&narinfo(&unknown)).await.0, StatusCode::NOT_FOUND);
    assert!(begun.elapsed() < Duration::from_secs(1), "it is not asked now");
    // It comes back: what it said is still known.
    world.origin.behave(Manner::Gone);
    let (url, path) = &urls[3];
    assert_eq!(world.fetch(url).await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.get(&narinfo(path)).await.0, StatusCode::NOT_FOUND);
}

async fn who_is_silent_is_given_up(database: &str) {
    let world = World::start(database).await;
    let path = world.origin.offer("hello", &nar_of(b"hello\n"), &[]);
    let url = world.url_of(&path).await;
    world.origin.behave(Manner::Silent);
    let begun = Instant::now();
    assert_eq!(world.fetch(&url).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
    world.origin.behave(Manner::Good);
    assert_eq!(world.fetch(&url).await.0, StatusCode::OK);
    world.until_it_has(&path).await;
}

async fn what_refers_to_nothing_that_can_be_had_is_not_served(database: &str) {
    let world = World::start(database).await;
    let base = path_of("base");
    let nar = nar_of(format!("/nix/store/{base}").as_bytes());
    let path = world.origin.offer("app", &nar, &[&base]);
    for form in ["", "?json"] {
        assert_eq!(world.get(&format!("{}{form}", narinfo(&path))).await.0, StatusCode::NOT_FOUND);
    }
    // Another upstream has it.
    let second = Origin::start("second");
    second.offer("base", &nar_of(b"base"), &[]);
    look_into(&world.server, "front", &second.url, &second.public_key).await;
    let url = world.url_of(&path).await;
    assert_eq!(world.fetch(&url).await.0, StatusCode::OK);
    world.until_it_has(&path).await;
    assert!(!world.has(&base).await, "what nobody has fetched is not kept");
    // What refers to itself needs nothing else.
    let own = path_of("own");
    world.origin.offer("own", &nar_of(format!("/nix/store/{own}").as_bytes()), &[&own]);
    assert_eq!(world.fetch(&world.url_of(&own).await).await.0, StatusCode::OK);
    world.until_it_has(&own).await;
}

async fn a_nar_may_be_somewhere_else(database: &str) {
    let world = World::start(database).await;
    let nar = nar_of(b"hello\n");
    let path = world.origin.offer("hello", &nar, &[]);
    let url = world.url_of(&path).await;
    world.origin.behave(Manner::Moved);
    assert_eq!(world.fetch(&url).await, (StatusCode::OK, Some(nar.sent)));
    world.until_it_has(&path).await;
}
