//! Evaluators write derivations to the worker, and to the store only those that it has to build itself.

use crate::{
    fetch_and_evaluate::{each, evaluate, fetch},
    server::Server,
    world::{Worker, repository},
};

const FLAKE: &str = r#"{
  outputs = { self }: let
    nonce = builtins.readFile ./nonce;
    mk = name: extra: derivation ({ inherit name nonce; system = "x86_64-linux"; builder = "/bin/sh"; } // extra);
    text = builtins.toFile "text" nonce;
    below = mk "below" { inherit text; };
    made = mk "made" { inherit below; args = [ "-c" "echo made > $out" ]; outputs = [ "out" ]; };
  in {
    packages.x86_64-linux = {
      above = mk "above" { inherit made; file = ./nonce; };
      reads = mk "reads" { text = builtins.readFile "${mk "alone" { args = [ "-c" "echo alone > $out" ]; }}"; };
      looks = mk (if builtins.readFile (builtins.path { name = "copy"; path = ./.; } + "/nonce") == nonce then "looks" else "differs") { };
      aborts = abort "no further";
      last = mk "last" { };
    };
  };
}"#;

#[test]
fn only_what_is_imported_from_is_stored() {
    each(async |nix| {
        let mut server = Server::start().await;
        let worker = Worker::start_on_the_machine(&nix, &server.socket).await;
        let folder = worker.store.home().join("repository");
        let nonce = uuid::Uuid::new_v4().to_string();
        let commit = repository(&folder, &[("flake.nix", FLAKE), ("nonce", &nonce)]);
        let (mut peer, _) = server.welcome("t").await;
        let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();

        let evaluation = evaluate(&mut peer, &source, "packages.x86_64-linux.#", true).await.unwrap();
        let told: Vec<_> = evaluation
            .entry_points
            .iter()
            .map(|(attribute, outcome)| (attribute.trim_start_matches("packages.x86_64-linux."), outcome.is_ok()))
            .collect();
        assert_eq!(told, [("aborts", false), ("above", true), ("last", true), ("looks", true), ("reads", true)]);
        let mut names: Vec<_> = evaluation.derivations.keys().map(|path| path.name().to_owned()).collect();
        names.sort();
        assert_eq!(names, ["above.drv", "below.drv", "last.drv", "looks.drv", "made.drv", "reads.drv"]);
        for path in evaluation.derivations.keys() {
            assert!(!std::path::Path::new(&path.to_absolute()).exists(), "{path} was written to the store");
        }
        let reads = evaluation.entry_points["packages.x86_64-linux.reads"].as_ref().unwrap();
        assert_eq!(evaluation.derivations[reads].as_validated().as_derivation().environment()["text"], b"alone\n");
    });
}
