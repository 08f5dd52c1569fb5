//! What evaluators build, because the evaluation imports from it, is told of as it happens.

use gradient_nix::nar::Encoder;

use crate::{
    fetch_and_evaluate::{Import, each, evaluate, fetch},
    server::Server,
    world::{Worker, repository},
};

const FLAKE: &str = r#"{
  outputs = { self }: let
    nonce = builtins.readFile ./nonce;
    mk = name: script: extra:
      derivation ({ inherit name nonce; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" script ]; } // extra);
    below = mk "below" "echo of below; echo below > $out" { };
    made = mk "made" "echo of made; echo more >&2; read line < $below; echo $line > $out" { inherit below; };
    broken = mk "broken" "echo about to break; exit 3" { };
    above = mk "above" "echo never" { inherit broken; };
    chatty = mk "chatty" "i=0; while [ $i -lt 20000 ]; do echo line $i of twenty thousand; i=$((i+1)); done; echo > $out" { };
    silent = mk "silent" "echo > $out" { };
  in {
    packages.x86_64-linux = {
      good = mk "good" (builtins.readFile made) { };
      again = mk "again" (builtins.readFile made) { };
      bad = import broken;
      worse = import broken;
      worst = import above;
      long = mk "long" (builtins.readFile chatty) { };
      quiet = mk "quiet" (builtins.readFile silent) { };
    };
  };
}"#;

#[test]
fn what_is_imported_from_is_told_of_with_its_log() {
    each(async |nix| {
        let mut server = Server::start().await;
        let worker = Worker::start_on_the_machine(&nix, &server.socket).await;
        let folder = worker.store.home().join("repository");
        let nonce = uuid::Uuid::new_v4().to_string();
        let commit = repository(&folder, &[("flake.nix", FLAKE), ("nonce", &nonce)]);
        let (mut peer, _) = server.welcome("t").await;
        let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();

        let evaluation = evaluate(&mut peer, &source, "packages.x86_64-linux.#", true).await.unwrap();
        let failed: Vec<_> = evaluation.entry_points.iter().filter(|(_, outcome)| outcome.is_err()).collect();
        assert_eq!(failed.len(), 3, "{failed:?}");
        let import = |name: &str| {
            let mut found = evaluation.imports.iter().filter(|import| import.derivation.name() == name);
            let import = found.next().unwrap_or_else(|| panic!("{name} is not told of"));
            assert_eq!(found.count(), 0, "{name} is told of twice");
            import
        };
        let text = |import: &Import| String::from_utf8(import.log.clone()).unwrap();
        for (name, log) in [("below.drv", "of below\n"), ("made.drv", "of made\nmore\n"), ("silent.drv", "")] {
            let import = import(name);
            assert_eq!((text(import).as_str(), import.system.as_str(), &import.ended), (log, "x86_64-linux", &Some(Ok(()))));
        }
        let lines: Vec<String> = (0..20_000).map(|line| format!("line {line} of twenty thousand\n")).collect();
        assert!(text(import("chatty.drv")) == lines.concat());

        let broken = import("broken.drv");
        assert_eq!(text(broken), "about to break\n");
        let reason = broken.ended.clone().unwrap().unwrap_err();
        assert!(reason.contains("exit code 3"), "{reason}");
        assert!(!reason.contains('\u{1b}'), "{reason:?}");
        assert!(evaluation.imports.iter().all(|import| import.derivation.name() != "above.drv"), "its builder never began");
    });
}

/// What only the server has cannot be built here.
const KNOWN: &str = r#"{
  outputs = { self }: let
    nonce = builtins.readFile ./nonce;
    mk = name: script: extra:
      derivation ({ inherit name nonce; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" script ]; } // extra);
    known = mk "known" "echo this is not to be built; exit 1" { };
    made = mk "made" "read line < $known; echo $line > $out" { inherit known; };
  in {
    packages.x86_64-linux = {
      direct = mk "direct" "" { text = builtins.readFile known; };
      deeper = mk "deeper" "" { text = builtins.readFile made; };
    };
  };
}"#;

#[test]
fn what_the_server_has_is_not_built_to_be_imported_from() {
    each(async |nix| {
        let mut server = Server::start().await;
        let worker = Worker::start_on_the_machine(&nix, &server.socket).await;
        let folder = worker.store.home().join("repository");
        let nonce = uuid::Uuid::new_v4().to_string();
        let commit = repository(&folder, &[("flake.nix", KNOWN), ("nonce", &nonce)]);
        let mut nar = Encoder::new(Vec::new()).unwrap();
        nar.regular(None, false, b"from the server\n").unwrap();
        server.scope.lock().unwrap().outputs.insert("known".to_owned(), nar.finish().unwrap());
        let (mut peer, _) = server.welcome("t").await;
        let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();

        let evaluation = evaluate(&mut peer, &source, "packages.x86_64-linux.#", true).await.unwrap();
        for attribute in ["direct", "deeper"] {
            let path = evaluation.entry_points[&format!("packages.x86_64-linux.{attribute}")].as_ref().unwrap();
            let derivation = evaluation.derivations[path].as_validated().as_derivation();
            assert_eq!(derivation.environment()["text"], b"from the server\n");
        }
        let told: Vec<_> = evaluation.imports.iter().map(|import| import.derivation.name()).collect();
        assert_eq!(told, ["made.drv"]);
    });
}
