//! No attribute and no evaluation takes for ever.

use std::time::Duration;

use crate::{
    fetch_and_evaluate::{each, evaluate, fetch},
    server::Server,
    world::{Worker, repository},
};

/// One attribute never ends, and talks.
const FLAKE: &str = r#"{
  outputs = { self }: let
    mk = name: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; };
    count = number: builtins.trace "at ${toString number}" (builtins.deepSeq (builtins.genList (n: n + number) 10000) (count (number + 1)));
  in {
    packages.x86_64-linux = { a = mk "a"; endless = count 0; z = mk "z"; };
  };
}"#;

const LONG: Duration = Duration::from_hours(1);

#[test]
fn an_attribute_that_does_not_end_is_ended_alone() {
    each(async |nix| {
        let mut server = Server::start().await;
        let worker = Worker::start_with_times(&nix, &server.socket, LONG, Duration::from_secs(8)).await;
        let folder = worker.store.home().join("repository");
        let commit = repository(&folder, &[("flake.nix", FLAKE)]);
        let (mut peer, _) = server.welcome("t").await;
        let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();
        let evaluation = evaluate(&mut peer, &source, "packages.x86_64-linux.#", false).await.unwrap();
        let outcome = |name: &str| evaluation.entry_points[&format!("packages.x86_64-linux.{name}")].as_ref();
        assert!(outcome("a").is_ok() && outcome("z").is_ok(), "{:?}", evaluation.entry_points);
        assert_eq!(outcome("endless").unwrap_err(), "it does not evaluate within 8 seconds");
    });
}

#[test]
fn an_evaluation_that_does_not_end_is_ended() {
    each(async |nix| {
        let mut server = Server::start().await;
        let worker = Worker::start_with_times(&nix, &server.socket, Duration::from_secs(4), LONG).await;
        let folder = worker.store.home().join("repository");
        let commit = repository(&folder, &[("flake.nix", FLAKE)]);
        let (mut peer, _) = server.welcome("t").await;
        let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();
        let error = evaluate(&mut peer, &source, "packages.x86_64-linux.#", false).await.unwrap_err();
        assert_eq!(error, "the evaluation takes longer than 4 seconds");
    });
}
