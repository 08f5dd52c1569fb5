//! A commit becomes derivations that a server can believe.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use gradient_domain::{BuildTimes, Epoch, EvaluationId, Id, Job, MessageLevel, OrganizationId};
use gradient_nix::{StorePath, derivation};
use gradient_protocol::{EntryPoint, EvaluateTask, EvaluationMessage, FetchTask, Report, Source, Task, ToWorker};
use gradient_test_support::nix::{Installation, installations};

use crate::{
    server::{Peer, Proxy, Server},
    world::{Worker, copy, repository},
};

fn assign(job: Job, task: Task) -> ToWorker {
    let peer: OrganizationId = Id::new();
    ToWorker::Assign { job, epoch: Epoch(1), peer, task: Box::new(task) }
}

pub(crate) async fn fetch(peer: &mut Peer, repository: &Path, commit: &str, reference: Option<&str>) -> Result<Source, String> {
    let repository = repository.display().to_string();
    let task = FetchTask { repository, commit: commit.into(), reference: reference.map(Into::into), access: None };
    peer.send(&assign(Job::Fetch(EvaluationId::new()), Task::Fetch(task))).await;
    assert_eq!(peer.report().await, Report::Started {});
    match peer.report().await {
        Report::Fetched { source } => Ok(source),
        Report::Failed { failure, .. } => Err(format!("{}: {}", failure.kind, failure.message)),
        other => panic!("{other:?}"),
    }
}

/// What an evaluation says.
#[derive(Debug, Default)]
pub(crate) struct Evaluation {
    pub(crate) entry_points: BTreeMap<String, Result<StorePath, String>>,
    pub(crate) times: BTreeMap<String, BuildTimes>,
    messages: Vec<EvaluationMessage>,
    pub(crate) derivations: HashMap<StorePath, gradient_nix::VerifiedDerivation>,
    pub(crate) imports: Vec<Import>,
}

/// A build that an evaluation tells of.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) derivation: StorePath,
    pub(crate) system: String,
    pub(crate) log: Vec<u8>,
    pub(crate) ended: Option<Result<(), String>>,
}

impl Evaluation {
    /// The build of this derivation that has not ended.
    fn import(&mut self, derivation: &StorePath) -> &mut Import {
        let running = |import: &&mut Import| import.derivation == *derivation && import.ended.is_none();
        self.imports.iter_mut().find(running).expect("it has begun, and not ended")
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        self.messages.iter().map(|message| message.message.as_str()).collect()
    }
}

pub(crate) async fn evaluate(peer: &mut Peer, source: &Source, wildcard: &str, allow_ifd: bool) -> Result<Evaluation, String> {
    evaluate_after(peer, source, wildcard, allow_ifd, &Evaluation::default()).await
}

/// The same where the server has what an earlier evaluation has sent.
pub(crate) async fn evaluate_after(
    peer: &mut Peer,
    source: &Source,
    wildcard: &str,
    allow_ifd: bool,
    before: &Evaluation,
) -> Result<Evaluation, String> {
    let task = EvaluateTask { source: source.clone(), wildcard: wildcard.into(), allow_ifd, show_ifd: allow_ifd };
    peer.send(&assign(Job::Evaluate(EvaluationId::new()), Task::Evaluate(task))).await;
    assert_eq!(peer.report().await, Report::Started {});
    let mut evaluation = Evaluation::default();
    loop {
        match peer.report().await {
            Report::Derivations { derivations, entry_points, messages } => {
                for file in derivations {
                    // What a server does: it believes only what follows from derivations that came before.
                    let verified = derivation::verify(&file.path, &file.aterm, |input| {
                        let known = evaluation.derivations.get(input).or_else(|| before.derivations.get(input));
                        Some(known?.input_hash())
                    });
                    let verified = verified.unwrap();
                    assert!(evaluation.derivations.insert(file.path.clone(), verified).is_none(), "{} comes twice", file.path);
                }
                for EntryPoint { attribute, outcome, times } in entry_points {
                    if let Ok(path) = &outcome {
                        let has_come = evaluation.derivations.contains_key(path) || before.derivations.contains_key(path);
                        assert!(has_come, "{attribute} comes before its derivation");
                    }
                    evaluation.times.insert(attribute.clone(), times);
                    assert!(evaluation.entry_points.insert(attribute.clone(), outcome).is_none(), "{attribute} comes twice");
                }
                evaluation.messages.extend(messages);
            }
            Report::IfdStarted { derivation, system } => {
                assert!(evaluation.imports.iter().all(|import| import.derivation != derivation), "{derivation} begins twice");
                evaluation.imports.push(Import { derivation, system, log: Vec::new(), ended: None });
            }
            Report::IfdLog { derivation, offset, bytes } => {
                let import = evaluation.import(&derivation);
                assert_eq!(offset, import.log.len() as u64);
                import.log.extend(bytes);
            }
            Report::IfdEnded { derivation, failure, .. } => {
                evaluation.import(&derivation).ended = Some(failure.map_or(Ok(()), |failure| Err(failure.message)));
            }
            Report::Evaluated {} => return Ok(evaluation),
            Report::Failed { failure, .. } => return Err(failure.message),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn each(mut test: impl AsyncFnMut(Installation)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for installation in installations().unwrap() {
        println!("with {}", installation.bin.display());
        runtime.block_on(test(installation));
    }
}

#[test]
fn the_fixture_becomes_derivations() {
    each(async |nix| {
        let mut server = Server::start().await;
        let fetcher = Worker::start(&nix, &server.socket).await;
        let folder = fetcher.store.home().join("a+repository");
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/flake"), &folder);
        let commit = repository(&folder, &[]);
        let (mut peer, _) = server.welcome("fetch").await;
        let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();
        assert_eq!((source.rev.as_deref(), source.rev_count), (Some(commit.as_str()), Some(1)));
        assert!(source.last_modified.is_some_and(|time| time > 1_700_000_000));
        let upload = server.scope.lock().unwrap().uploads[&source.path.to_string()].clone();
        assert_eq!((upload.content_address, upload.references), (format!("fixed:r:{}", source.nar_hash), String::new()));
        assert_eq!(fetch(&mut peer, &folder, &commit, None).await.unwrap(), source);
        drop(peer);

        // Another worker, which has nothing.
        let mut server_for_evaluation = Server::start().await;
        server_for_evaluation.scope.lock().unwrap().uploads = server.scope.lock().unwrap().uploads.clone();
        let evaluator = Worker::start(&nix, &server_for_evaluation.socket).await;
        let (mut peer, _) = server_for_evaluation.welcome("evaluate").await;
        let wildcard = "packages.x86_64-linux.*,checks.*.#,legacyPackages.*.*,!legacyPackages.x86_64-linux.broken.failing,\
                        packages.x86_64-linux.nothing,legacyPackages.x86_64-linux.broken,devShells.nowhere.#";
        let evaluation = evaluate(&mut peer, &source, wildcard, false).await.unwrap();

        let outcome = |attribute: &str| {
            let outcome = evaluation.entry_points.get(attribute).unwrap_or_else(|| panic!("{attribute} is not there"));
            outcome.as_ref().map_err(String::as_str)
        };
        assert_eq!(outcome("packages.x86_64-linux.hello").unwrap().name(), "hello-1.0.drv");
        assert_eq!(outcome("checks.x86_64-linux.runs").unwrap().name(), "check-runs.drv");
        assert_eq!(outcome("legacyPackages.aarch64-linux.broken.failing").unwrap().name(), "failing-1.drv");
        assert_eq!(outcome("packages.x86_64-linux.nothing"), Err("the flake has no such attribute"));
        assert_eq!(outcome("legacyPackages.x86_64-linux.broken"), Err("it is a set of attributes and no derivation"));
        for system in ["x86_64-linux", "aarch64-linux"] {
            let thrown = outcome(&format!("legacyPackages.{system}.throwing.throws")).unwrap_err();
            assert!(thrown.contains("this attribute throws"), "{thrown}");
        }
        assert!(!evaluation.entry_points.contains_key("legacyPackages.x86_64-linux.broken.failing"));
        assert!(!evaluation.entry_points.contains_key("packages.aarch64-linux.hello"));

        let warnings: Vec<_> = evaluation.messages.iter().map(|message| (message.level, message.message.as_str())).collect();
        assert_eq!(warnings, [(MessageLevel::Warning, "the pattern `devShells.nowhere.#` matches nothing")]);
        let hello = &evaluation.derivations[outcome("packages.x86_64-linux.hello").unwrap()];
        let uploads = server_for_evaluation.scope.lock().unwrap().uploads.clone();
        assert!(!hello.input_sources().is_empty());
        for source in evaluation.derivations.values().flat_map(gradient_nix::VerifiedDerivation::input_sources) {
            assert!(uploads.contains_key(&source.to_string()), "{source} was not uploaded");
        }
        for worker in [fetcher, evaluator] {
            worker.stop.cancel();
            worker.ended().await.unwrap();
        }
    });
}

/// Names that have to be quoted everywhere, text files that refer to others, errors of all kinds.
const AWKWARD: &str = r#"{
  outputs = { self }: let
    mk = name: extra: derivation ({ inherit name; system = "x86_64-linux"; builder = "/bin/sh"; } // extra);
    made = mk "made" { args = [ "-c" "echo made > $out" ]; };
    text = builtins.toFile "text" "hello";
    more = builtins.toFile "more" "see ${text}";
  in {
    packages."x86_64-linux" = {
      "a.b" = mk "dot" { };
      "with space" = mk "space" { };
      "quote\"d" = mk "quote" { };
      "\${x}" = mk "dollar" { };
      plain = mk "plain" { file = more; };
      loops = let x = x; in x;
      aborts = abort "no further";
      nested.inner = mk "inner" { };
      function = x: x;
      imports = mk "imports" { text = builtins.readFile made; };
    };
    checks = throw "no checks at all";
    hydraJobs.number = builtins.trace "warning: a warning" 42;
  };
}"#;

#[test]
fn awkward_flakes_are_told_attribute_by_attribute() {
    each(async |nix| {
        let mut server = Server::start().await;
        let worker = Worker::start(&nix, &server.socket).await;
        let folder = worker.store.home().join("repository");
        let commit = repository(&folder, &[("flake.nix", AWKWARD)]);
        let (mut peer, _) = server.welcome("t").await;
        let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();

        let wildcard = "packages.*,packages.x86_64-linux.*,checks.*,hydraJobs.number,packages.x86_64-linux.\"with space\"";
        let evaluation = evaluate(&mut peer, &source, wildcard, false).await.unwrap();
        let told: Vec<_> = evaluation
            .entry_points
            .iter()
            .map(|(attribute, outcome)| match outcome {
                Ok(path) => format!("{attribute} = {}", path.name()),
                Err(error) => format!(
                    "{attribute}: {}",
                    ["infinite recursion", "allow-import-from-derivation", "no further", "no checks at all", "no derivation"]
                        .into_iter()
                        .find(|part| error.contains(part))
                        .unwrap_or(error)
                ),
            })
            .collect();
        assert_eq!(
            told,
            [
                "checks: no checks at all",
                "hydraJobs.number: no derivation",
                r#"packages.x86_64-linux."${x}" = dollar.drv"#,
                r#"packages.x86_64-linux."a.b" = dot.drv"#,
                r#"packages.x86_64-linux."quote\"d" = quote.drv"#,
                r#"packages.x86_64-linux."with space" = space.drv"#,
                "packages.x86_64-linux.aborts: no further",
                "packages.x86_64-linux.imports: allow-import-from-derivation",
                "packages.x86_64-linux.loops: infinite recursion",
                "packages.x86_64-linux.nested.inner = inner.drv",
                "packages.x86_64-linux.plain = plain.drv",
            ]
        );
        let warnings: Vec<_> = evaluation.messages.iter().map(|message| message.message.as_str()).collect();
        assert_eq!(warnings, ["a warning"]);
        let uploads = server.scope.lock().unwrap().uploads.clone();
        let file = |name: &str| {
            uploads.iter().find(|(base, _)| base.ends_with(name)).map(|(base, upload)| (base.clone(), upload.clone()))
        };
        let (text, _) = file("-text").expect("what a source refers to is uploaded too");
        let (_, more) = file("-more").unwrap();
        assert!(more.content_address.starts_with("text:sha256:"), "{}", more.content_address);
        assert_eq!(more.references, text);

        let evaluation = evaluate(&mut peer, &source, "packages.x86_64-linux.imports", true).await.unwrap();
        let imports = evaluation.entry_points["packages.x86_64-linux.imports"].as_ref().unwrap();
        assert_eq!(evaluation.derivations[imports].as_validated().as_derivation().environment()["text"], b"made\n");
    });
}

#[test]
fn what_fails_as_a_whole_says_why() {
    each(async |nix| {
        let mut server = Server::start().await;
        let worker = Worker::start(&nix, &server.socket).await;
        let (mut peer, _) = server.welcome("t").await;
        let folder = worker.store.home().join("repository");
        let commit = repository(&folder, &[("flake.nix", "{ outputs = { self }: { packages = ; }; }")]);

        let nowhere = fetch(&mut peer, &folder.join("nowhere"), &commit, Some("trunk")).await.unwrap_err();
        assert!(nowhere.contains(": cannot fetch /"), "{nowhere}");
        let missing = fetch(&mut peer, &folder, &"a".repeat(40), Some("trunk")).await.unwrap_err();
        assert!(missing.starts_with("permanent: cannot fetch /") && missing.contains(&"a".repeat(40)), "{missing}");

        let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();
        let syntax = evaluate(&mut peer, &source, "packages.*", false).await.unwrap_err();
        assert!(syntax.starts_with("error:") && syntax.contains("syntax error"), "{syntax}");
        let wildcard = evaluate(&mut peer, &source, "packages..x", false).await.unwrap_err();
        assert!(wildcard.contains("`packages..x`: a name is empty"), "{wildcard}");
    });
}

/// Text that cannot be compressed to less than half.
fn noise(bytes: usize) -> String {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(|| format!("{:016x}", next())).take(bytes / 16).collect()
}

#[test]
fn a_source_gets_through_a_proxy_that_cuts() {
    let Some(nix) = installations().unwrap().into_iter().next() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (name, proxy, most) in [("refuses", Proxy::Refuses(300_000), 300_000), ("cuts", Proxy::Cuts(900_000), 900_000)] {
            let mut server = Server::start().await;
            server.scope.lock().unwrap().proxy = proxy;
            let worker = Worker::start(&nix, &server.socket).await;
            let folder = worker.store.home().join("repository");
            let text = noise(6 << 20);
            let commit = repository(&folder, &[("flake.nix", "{ outputs = _: { }; }"), ("noise", &text)]);
            let (mut peer, _) = server.welcome(name).await;
            let source = fetch(&mut peer, &folder, &commit, Some("trunk")).await.unwrap();
            {
                let scope = server.scope.lock().unwrap();
                let upload = &scope.uploads[&source.path.to_string()];
                assert_eq!(upload.content_address, format!("fixed:r:{}", source.nar_hash), "{name}");
                assert!(upload.nar.windows(32).any(|window| window == &text.as_bytes()[text.len() - 32..]), "{name}");
                assert!(scope.bodies.iter().all(|size| *size <= most), "{name}: {:?}", scope.bodies);
            }
            // What got through is remembered.
            let before = server.scope.lock().unwrap().bodies.len();
            let other = worker.store.home().join("other");
            let commit = repository(&other, &[("flake.nix", "{ outputs = _: { }; }"), ("noise", &noise(2 << 20))]);
            fetch(&mut peer, &other, &commit, Some("trunk")).await.unwrap();
            let scope = server.scope.lock().unwrap();
            assert!(scope.bodies[before..].iter().all(|size| *size <= most), "{name}: {:?}", &scope.bodies[before..]);
        }
    });
}
