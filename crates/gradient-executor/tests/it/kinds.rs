//! Kinds of derivations that are rare, on their way from a flake to the server.

use gradient_nix::{DerivationKind, UnsupportedDerivation};

use crate::{
    fetch_and_evaluate::{each, evaluate, fetch},
    server::Server,
    world::{Worker, repository},
};

const FLAKE: &str = r#"{
  outputs = { self }: let
    mk = name: extra: derivation ({ inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo > $out" ]; } // extra);
    floating = mk "floating" { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
    impure = mk "impure" { __impure = true; };
    below = mk "below" { };
  in {
    packages.x86_64-linux = {
      inherit floating impure;
      above = mk "above" { input = floating; };
      above-impure = mk "above-impure" { input = impure; };
      fixed = mk "fixed" {
        input = floating;
        outputHashMode = "flat"; outputHashAlgo = "sha256";
        outputHash = "adcf791ae2803c0c10f0dab9c430c39ac580bf95d6a834a248f4dedd72c69665";
      };
      plain = mk "plain" { };
      deep = mk "deep" { input = below.drvPath; };
      reader = mk "reader" { input = builtins.unsafeDiscardOutputDependency below.drvPath; };
    };
  };
}"#;

const WILDCARD: &str = "packages.x86_64-linux.*";

#[test]
fn what_is_rare_is_evaluated() {
    use DerivationKind::{ContentAddressed, Deferred, FixedOutput, InputAddressed, Unsupported};
    each(async |nix| {
        let mut server = Server::start().await;
        let features = "extra-experimental-features = ca-derivations impure-derivations";
        let worker = Worker::start_with(&nix, &server.socket, features).await;
        let folder = worker.store.home().join("repository");
        let commit = repository(&folder, &[("flake.nix", FLAKE)]);
        let (mut peer, _) = server.welcome("t").await;
        let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();
        let evaluation = evaluate(&mut peer, &source, WILDCARD, false).await.unwrap();
        for (name, kind) in [
            ("floating", ContentAddressed),
            ("impure", Unsupported(UnsupportedDerivation::Impure)),
            ("above", Deferred),
            ("above-impure", Deferred),
            ("fixed", FixedOutput),
            ("plain", InputAddressed),
            ("deep", InputAddressed),
            ("reader", InputAddressed),
        ] {
            let path = evaluation.entry_points[&format!("packages.x86_64-linux.{name}")].as_ref().unwrap();
            assert_eq!(evaluation.derivations[path].kind(), kind, "{name}");
        }
        let reader = evaluation.entry_points["packages.x86_64-linux.reader"].as_ref().unwrap();
        let uploads = server.scope.lock().unwrap().uploads.clone();
        let [below] = &evaluation.derivations[reader].input_sources().iter().collect::<Vec<_>>()[..] else { panic!() };
        assert!(uploads[&below.to_string()].content_address.starts_with("text:sha256:"));
    });
}

#[test]
fn without_the_feature_of_nix_there_is_an_error() {
    each(async |nix| {
        let mut server = Server::start().await;
        let worker = Worker::start(&nix, &server.socket).await;
        let folder = worker.store.home().join("repository");
        let commit = repository(&folder, &[("flake.nix", FLAKE)]);
        let (mut peer, _) = server.welcome("t").await;
        let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();
        let evaluation = evaluate(&mut peer, &source, WILDCARD, false).await.unwrap();
        for (name, feature) in [("floating", "ca-derivations"), ("above", "ca-derivations"), ("impure", "impure-derivations")] {
            let error = evaluation.entry_points[&format!("packages.x86_64-linux.{name}")].as_ref().unwrap_err();
            assert!(error.contains(&format!("'{feature}' is disabled")), "{name}: {error}");
        }
        evaluation.entry_points["packages.x86_64-linux.plain"].as_ref().unwrap();
    });
}
