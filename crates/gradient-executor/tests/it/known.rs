//! What the server has is neither read nor sent.

use std::collections::HashSet;

use gradient_nix::StorePath;

use crate::{
    fetch_and_evaluate::{Evaluation, each, evaluate, evaluate_after, fetch},
    server::Server,
    world::{Worker, repository},
};

const FLAKE: &str = r#"{
  outputs = { self }: let
    mk = name: extra: derivation ({ inherit name; system = "x86_64-linux"; builder = "/bin/sh"; } // extra);
    base = mk "base" { };
    library = mk "library" { inherit base; };
  in {
    packages.x86_64-linux = {
      one = mk "one" { inherit library; };
      other = mk "other" { inherit library base; };
      inherit library;
    };
  };
}"#;

fn sent(evaluation: &Evaluation) -> Vec<&str> {
    let mut names: Vec<_> = evaluation.derivations.keys().map(StorePath::name).collect();
    names.sort_unstable();
    names
}

#[test]
fn what_the_server_has_is_not_sent() {
    each(async |nix| {
        let mut server = Server::start().await;
        let worker = Worker::start(&nix, &server.socket).await;
        let folder = worker.store.home().join("repository");
        let commit = repository(&folder, &[("flake.nix", FLAKE)]);
        let (mut peer, _) = server.welcome("t").await;
        let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();
        let know = |names: &[&str]| {
            let mut scope = server.scope.lock().unwrap();
            scope.asked.clear();
            scope.known = Some(names.iter().map(|name| (*name).to_owned()).collect());
        };
        let asked = || server.scope.lock().unwrap().asked.iter().cloned().collect::<HashSet<_>>();

        // An earlier version does not say what it has.
        let all = evaluate(&mut peer, &source, "packages.x86_64-linux.#", false).await.unwrap();
        assert_eq!(sent(&all), ["base.drv", "library.drv", "one.drv", "other.drv"]);

        know(&["library.drv", "base.drv"]);
        let some = evaluate_after(&mut peer, &source, "packages.x86_64-linux.#", false, &all).await.unwrap();
        assert_eq!(sent(&some), ["one.drv", "other.drv"]);
        assert_eq!(some.entry_points, all.entry_points);

        know(&["library.drv", "one.drv", "other.drv"]);
        let none = evaluate_after(&mut peer, &source, "packages.x86_64-linux.#", false, &all).await.unwrap();
        assert!(sent(&none).is_empty());
        assert_eq!(none.entry_points, all.entry_points);
        assert!(!asked().contains("base.drv"), "nothing below what it has is looked at");
    });
}
