//! Attributes that `nix-eval-jobs` evaluates, or something that speaks like it.

use std::fs;

use gradient_domain::BuildTimes;
use gradient_test_support::nix::Installation;

use crate::{
    fetch_and_evaluate::{Evaluation, each, evaluate, fetch},
    server::Server,
    world::{Worker, repository},
};

/// Derivations, one that throws, one that is left out, and what is no derivation.
const FLAKE: &str = r#"{
  outputs = { self }: let
    mk = name: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; };
  in {
    packages."x86_64 linux" = builtins.listToAttrs
      (builtins.genList (number: { name = "a${toString number}"; value = mk "p${toString number}"; }) 150)
      // { timed = mk "timed" // { meta = { timeout = 60; maxSilent = 10; }; }; odd = mk "odd" // { meta = { timeout = "soon"; maxSilent = 0; }; }; }
      // { "a.b" = mk "dot"; throws = throw "this one throws"; set.inner = mk "inner"; text = "text"; out = throw "nobody asks"; };
    checks.one = mk "one";
  };
}"#;

const WILDCARD: &str = r#"packages."x86_64 linux".*,checks.#,!packages."x86_64 linux".out"#;

/// Says of each attribute of the set what `nix-eval-jobs` would, and notes what it was asked for.
const STAND_IN: &str = r#"#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
while [ "$1" != --flake ]; do shift; done
echo "evaluation warning: a warning of the flake" >&2
"@NIX@/nix" --extra-experimental-features "nix-command flakes" eval --raw "$2" --apply 'set:
  let
    line = name:
      let
        about = { attr = name; attrPath = [ name ]; };
        value = builtins.tryEval (if builtins.isAttrs set.${name} then set.${name}.type or "set" else "other");
      in
      if !value.success then [ (about // { error = "error: it throws, says the stand-in"; }) ]
      else if value.value == "derivation" then [ (about // { drvPath = builtins.unsafeDiscardStringContext "${set.${name}.drvPath}"; inherit (set.${name}) name system; meta = set.${name}.meta or { }; }) ]
      else [ ];
    lines = builtins.concatMap line (builtins.attrNames set);
  in builtins.concatStringsSep "" (map (line: builtins.toJSON line + "\n") lines)'
"#;

/// What a worker with this program finds, and what the program was asked for.
async fn find(nix: &Installation, program: &str) -> (Evaluation, String) {
    let mut server = Server::start().await;
    let program = program.replace("@NIX@", &nix.bin.display().to_string());
    let worker = Worker::start_with_jobs(nix, &server.socket, &program).await;
    let folder = worker.store.home().join("repository");
    let commit = repository(&folder, &[("flake.nix", FLAKE)]);
    let (mut peer, _) = server.welcome("t").await;
    let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();
    let evaluation = evaluate(&mut peer, &source, WILDCARD, false).await.unwrap();
    let asked = fs::read_to_string(worker.store.home().join("asked")).unwrap();
    (evaluation, asked)
}

fn check(evaluation: &Evaluation, thrown: &str) {
    let name = |attribute: &str| evaluation.entry_points[attribute].as_ref().unwrap().name().to_owned();
    for number in 0..150 {
        assert_eq!(name(&format!(r#"packages."x86_64 linux".a{number}"#)), format!("p{number}.drv"));
    }
    assert_eq!(name(r#"packages."x86_64 linux"."a.b""#), "dot.drv");
    assert_eq!(name(r#"packages."x86_64 linux".set.inner"#), "inner.drv", "it is one level inside");
    assert_eq!(name("checks.one"), "one.drv");
    let times = |name: &str| evaluation.times[&format!(r#"packages."x86_64 linux".{name}"#)];
    assert_eq!(times("timed"), BuildTimes { timeout_secs: Some(60), max_silent_secs: Some(10) });
    assert!(times("odd").is_empty() && times("a1").is_empty());
    let error = evaluation.entry_points[r#"packages."x86_64 linux".throws"#].as_ref().unwrap_err();
    assert!(error.contains(thrown), "{error}");
    assert_eq!((evaluation.entry_points.len(), evaluation.derivations.len()), (156, 155));
}

#[test]
fn it_finds_what_our_own_evaluator_finds() {
    each(async |nix| {
        let (evaluation, asked) = find(&nix, STAND_IN).await;
        check(&evaluation, "says the stand-in");
        assert_eq!(asked.lines().count(), 1, "for one set it is worth it: {asked}");
        assert!(asked.contains(r"#packages.%22x86_64%20linux%22 --meta --workers 2"), "{asked}");
        assert!(asked.contains("--option allow-import-from-derivation false"), "{asked}");
        assert_eq!(evaluation.warnings(), ["a warning of the flake"]);
    });
}

#[test]
fn what_it_leaves_open_is_evaluated_without_it() {
    each(async |nix| {
        for program in [
            "#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/asked\"\nexit 3\n",
            "#!/bin/sh\necho > \"$(dirname \"$0\")/asked\"\necho what\n",
        ] {
            let (evaluation, _) = find(&nix, program).await;
            check(&evaluation, "this one throws");
        }
    });
}

#[test]
fn the_real_one_finds_the_same() {
    let installed = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|at| at.join("nix-eval-jobs")).find(|at| at.is_file()));
    let Some(program) = installed else { return };
    each(async |nix| {
        let program = format!("#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/asked\"\nexec {} \"$@\"\n", program.display());
        let (evaluation, _) = find(&nix, &program).await;
        check(&evaluation, "this one throws");
    });
}
