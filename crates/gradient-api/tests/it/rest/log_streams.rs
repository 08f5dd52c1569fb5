//! Streams of logs: what is stored first, then what comes.

mod world;

use std::time::Duration;

use gradient_domain::{Failure, FailureKind};
use serde_json::{Value, json};

use self::world::{Lines, World};
use super::PASSWORD;

gradient_test_support::both_databases!(
    an_evaluation_is_followed_to_its_end,
    a_build_is_followed_to_its_end,
    large_logs_come_whole,
    who_goes_away_is_forgotten,
    who_may_not_see_it_any_more_is_told_no_more,
);

async fn an_evaluation_is_followed_to_its_end(database: &str) {
    let world = World::start(database, &["one", "two"]).await;
    world.log(0, "stored\nbegun").await;
    let mut lines = Lines::open(&world, &format!("/evals/{}/builds", world.evaluation)).await;
    assert_eq!(lines.next().await.as_deref(), Some("one> stored"));
    world.log(0, " and done\n").await;
    assert_eq!(lines.next().await.as_deref(), Some("one> begun and done"));
    world.log_bytes(1, b"caf\xc3").await;
    world.log_bytes(1, b"\xa9 \xff\r\nno end").await;
    assert_eq!(lines.next().await.as_deref(), Some("two> café \u{fffd}"));
    world.fail(1).await;
    assert_eq!(lines.next().await.as_deref(), Some("two> no end"), "the last line of a build needs no end");
    world.log(0, "last\n\n").await;
    assert_eq!(lines.next().await.as_deref(), Some("one> last"));
    assert_eq!(lines.next().await.as_deref(), Some("one> "));
    world.fail(0).await;
    assert_eq!(lines.next().await, None);

    // What has ended is told again, whole and in order.
    let again = Lines::open(&world, &format!("/evals/{}/builds", world.evaluation)).await.rest().await;
    let of = |build: &str| again.iter().filter_map(|line| line.strip_prefix(build)).collect::<Vec<_>>();
    assert_eq!(of("one> "), ["stored", "begun and done", "last", ""]);
    assert_eq!(of("two> "), ["café \u{fffd}", "no end"]);
}

async fn a_build_is_followed_to_its_end(database: &str) {
    let world = World::start(database, &["one", "two"]).await;
    world.log_bytes(0, b"caf\xc3").await;
    let mut pieces = Lines::open(&world, &format!("/builds/{}/log", world.builds[0])).await;
    assert_eq!(pieces.next().await.as_deref(), Some("caf"), "no character is cut");
    world.log(1, "of another build").await;
    world.log_bytes(0, b"\xa9\nx\xff\xe2\x82").await;
    assert_eq!(pieces.next().await.as_deref(), Some("é\nx\u{fffd}"));
    world.fail(0).await;
    assert_eq!(pieces.next().await.as_deref(), Some("\u{fffd}"), "what is no character after all comes at the end");
    assert_eq!(pieces.next().await, None);
}

async fn large_logs_come_whole(database: &str) {
    let world = World::start(database, &["one", "two"]).await;
    // Lines of many lengths, one of them longer than any buffer, and characters of two bytes across every boundary.
    let lines: Vec<String> = (0..600).map(|number| format!("{number} {}", "ä".repeat(number))).collect();
    let endless = "ö".repeat(100_000);
    let text = format!("{}\n{endless}", lines.join("\n"));
    let path = format!("/evals/{}/builds", world.evaluation);
    let stream = tokio::spawn(Lines::open(&world, &path).await.rest());
    let piece = tokio::spawn(Lines::open(&world, &format!("/builds/{}/log", world.builds[1])).await.rest());
    for chunk in text.as_bytes().chunks(50_001) {
        world.log_bytes(0, chunk).await;
        world.log_bytes(1, chunk).await;
    }
    world.fail(0).await;
    world.fail(1).await;
    let followed = stream.await.unwrap();
    for lines_of in [followed, Lines::open(&world, &path).await.rest().await] {
        for build in ["one> ", "two> "] {
            let mut of: Vec<&str> = lines_of.iter().filter_map(|line| line.strip_prefix(build)).collect();
            let long = of.split_off(lines.len());
            assert_eq!(of, lines);
            assert!(long.len() > 1, "a line longer than any buffer comes in parts");
            assert_eq!(long.concat(), endless);
        }
    }
    assert_eq!(piece.await.unwrap().concat(), text);
}

async fn who_goes_away_is_forgotten(database: &str) {
    let world = World::start(database, &["one"]).await;
    let before = world.server.engine.followers();
    let path = format!("/evals/{}/builds", world.evaluation);
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(Lines::open(&world, &path).await);
    }
    world.until(|| world.server.engine.followers() == before + 20).await;
    drop(streams);
    // Nothing is ever written to them that would show that nobody is there.
    world.until(|| world.server.engine.followers() == before).await;
    tokio::time::timeout(Duration::from_secs(30), world.fail(0)).await.unwrap();
}

async fn who_may_not_see_it_any_more_is_told_no_more(database: &str) {
    let world = World::start(database, &["one"]).await;
    let (first, second) = (world.server.signed_in("alice").await, world.server.login("alice", PASSWORD).await);
    world.join("alice").await;
    let paths = [format!("/builds/{}/log", world.builds[0]), format!("/evals/{}/builds", world.evaluation)];
    world.log(0, "begun\n").await;
    let mut streams = Vec::new();
    for path in &paths {
        for token in [None, Some(first.as_str()), Some(&second)] {
            let mut lines = Lines::open_as(&world, path, token).await;
            assert!(lines.next().await.unwrap().contains("begun"), "{path}");
            streams.push((lines, token));
        }
    }
    world.close_to_the_public().await;
    world.server.with(&first).post("/auth/logout", json!({})).await.message();
    for (lines, _) in streams.iter_mut().filter(|(_, token)| *token != Some(&second)) {
        assert_eq!(lines.next().await, None);
    }
    world.log(0, "done\n").await;
    for (lines, _) in streams.iter_mut().filter(|(_, token)| *token == Some(&second)) {
        assert!(lines.next().await.unwrap().contains("done"), "whoever still may goes on");
    }
}

/// Why the builds of these tests fail.
fn failure() -> Failure {
    Failure { kind: FailureKind::Permanent, message: "exit 1".to_owned() }
}

/// The text of one line of a stream: each is a JSON string.
fn text(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap();
    value.as_str().unwrap().to_owned()
}
