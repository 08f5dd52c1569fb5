//! Many attributes, evaluated by several processes.

use crate::{
    fetch_and_evaluate::{each, evaluate, fetch},
    server::Server,
    world::{Worker, repository},
};

/// Every hundredth attribute cannot be evaluated at all; all need what the one before needs.
const FLAKE: &str = r#"{
  outputs = { self }: let
    mk = name: extra: derivation ({ inherit name; system = "x86_64-linux"; builder = "/bin/sh"; } // extra);
    all = builtins.genList (number: mk "p${toString number}" { before = if number == 0 then "" else builtins.elemAt all (number - 1); }) 700;
    attribute = number:
      if number - number / 100 * 100 == 50 then abort "not number ${toString number}" else builtins.elemAt all number;
  in {
    packages.x86_64-linux = builtins.listToAttrs
      (builtins.genList (number: { name = "a${toString number}"; value = attribute number; }) 700);
  };
}"#;

#[test]
fn processes_share_the_attributes() {
    each(async |nix| {
        let mut server = Server::start().await;
        let worker = Worker::start(&nix, &server.socket).await;
        let folder = worker.store.home().join("repository");
        let commit = repository(&folder, &[("flake.nix", FLAKE)]);
        let (mut peer, _) = server.welcome("t").await;
        let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();

        // The test's server finds that nothing comes twice, and nothing before what it needs.
        let evaluation = evaluate(&mut peer, &source, "packages.x86_64-linux.#", false).await.unwrap();
        assert_eq!((evaluation.entry_points.len(), evaluation.derivations.len()), (700, 700));
        for number in 0..700 {
            let outcome = &evaluation.entry_points[&format!("packages.x86_64-linux.a{number}")];
            match outcome {
                Ok(path) => assert_eq!(path.name(), format!("p{number}.drv")),
                Err(error) => assert!(number % 100 == 50 && error.contains(&format!("not number {number}")), "{error}"),
            }
        }
        assert_eq!(evaluation.entry_points.values().filter(|outcome| outcome.is_err()).count(), 7);
    });
}
