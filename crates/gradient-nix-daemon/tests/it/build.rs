//! Building, and the ways in which it ends.

use std::time::Duration;

use gradient_nix::StorePath;
use gradient_nix_daemon::{BasicDerivation, BuildResult, BuildStatus, Connection, Event, Options};

use crate::{World, with_each_nix, with_each_nix_set_to};

/// Builds; gives the result and the lines of the log.
async fn build(connection: &mut Connection, path: &StorePath, derivation: &BasicDerivation) -> (BuildResult, Vec<String>) {
    let mut build = connection.build_derivation(path, derivation).await.unwrap();
    let mut log = Vec::new();
    while let Some(event) = build.next().await.unwrap() {
        if let Event::LogLine(line) = event {
            log.push(String::from_utf8(line).unwrap());
        }
    }
    (build.result().await.unwrap(), log)
}

#[tokio::test]
async fn outputs_appear_without_the_derivation_in_the_store() {
    with_each_nix(async |world| {
        let source = world.add("source", "content\n");
        let (path, derivation) = world.derivation(
            "several",
            "echo one; echo two >&2; cat $src > $out; echo $out > $dev",
            &format!("outputs = [ \"out\" \"dev\" ]; src = \"{}\";", source.to_absolute()),
        );
        world.run("nix-store", &["--delete", &path.to_absolute()]);
        let request = BasicDerivation::new(&derivation, [source]).unwrap();
        let mut connection = world.connect().await;
        let (result, log) = build(&mut connection, &path, &request).await;
        assert_eq!((result.status, log), (BuildStatus::Built, vec!["one".to_owned(), "two".to_owned()]), "{}", result.message);
        let [out, dev] = ["out", "dev"].map(|name| request.outputs[name].path().unwrap());
        let info = connection.query_path_info(dev).await.unwrap().unwrap();
        assert_eq!((info.references, info.deriver), (vec![out.clone()], Some(path.clone())));
        assert_eq!(build(&mut connection, &path, &request).await.0.status, BuildStatus::AlreadyValid);
    })
    .await;
}

#[tokio::test]
async fn content_addressed_outputs_say_where_they_went() {
    with_each_nix_set_to("extra-experimental-features = ca-derivations", async |world| {
        let content = "__contentAddressed = true; outputHashMode = \"recursive\"; outputHashAlgo = \"sha256\";";
        let outputs = format!("outputs = [ \"out\" \"dev\" ]; {content}");
        let (path, derivation) = world.derivation("floating", "echo one > $out; echo $out $dev > $dev", &outputs);
        let request = BasicDerivation::new(&derivation, []).unwrap();
        assert!(request.outputs.values().all(|output| output.path().is_none()));
        let mut connection = world.connect().await;
        let (result, _) = build(&mut connection, &path, &request).await;
        assert_eq!(result.status, BuildStatus::Built, "{}", result.message);
        let (out, dev) = (&result.outputs["out"], &result.outputs["dev"]);
        assert_eq!((out.name(), dev.name()), ("floating", "floating-dev"));
        let info = connection.query_path_info(dev).await.unwrap().unwrap();
        assert!(info.content_address.unwrap().starts_with("fixed:r:sha256:"));
        assert_eq!(info.references.len(), 2);
        let again = build(&mut connection, &path, &request).await.0;
        assert_eq!((again.status, &again.outputs), (BuildStatus::AlreadyValid, &result.outputs));
    })
    .await;
}

#[tokio::test]
async fn structured_attributes_and_fixed_outputs_build() {
    with_each_nix(async |world| {
        let (path, derivation) = world.derivation(
            "fixed",
            "printf 'fixed content\\n' > $out",
            "outputHashMode = \"flat\"; outputHashAlgo = \"sha256\";
             outputHash = \"adcf791ae2803c0c10f0dab9c430c39ac580bf95d6a834a248f4dedd72c69665\";",
        );
        let mut connection = world.connect().await;
        let request = BasicDerivation::new(&derivation, []).unwrap();
        let (result, _) = build(&mut connection, &path, &request).await;
        assert!(result.status.is_success(), "{result:?}");

        let (path, derivation) = world.derivation("structured", "exit 3", "__structuredAttrs = true; list = [ 1 ];");
        let request = BasicDerivation::new(&derivation, []).unwrap();
        assert!(request.environment.contains_key("__json"));
        let (result, _) = build(&mut connection, &path, &request).await;
        assert_eq!(result.status, BuildStatus::PermanentFailure, "{result:?}");
    })
    .await;
}

#[tokio::test]
async fn failures_have_their_words() {
    with_each_nix(async |world| {
        let wrong_hash = "outputHashMode = \"flat\"; outputHashAlgo = \"sha256\";
             outputHash = \"sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\";";
        let cases: &[(&str, &str, &str, &[BuildStatus])] = &[
            ("failing", "echo it broke; exit 3", "", &[BuildStatus::PermanentFailure]),
            ("no-output", "true", "", &[BuildStatus::OutputRejected, BuildStatus::PermanentFailure]),
            ("bad-fixed", "echo wrong > $out", wrong_hash, &[BuildStatus::OutputRejected, BuildStatus::HashMismatch]),
            ("endless", "while :; do echo; sleep 0.1; done", "", &[BuildStatus::TimedOut]),
            ("silent", "while :; do sleep 1; done", "", &[BuildStatus::TimedOut]),
            ("loud", "seq 1 200000; echo > $out", "", &[BuildStatus::LogLimitExceeded]),
            (
                "unfit",
                "echo > $out",
                "requiredSystemFeatures = [ \"kvm\" ];",
                &[BuildStatus::InputRejected, BuildStatus::MiscFailure],
            ),
        ];
        for (name, script, more, expected) in cases {
            let (path, derivation) = world.derivation(name, script, more);
            let mut connection = world.connect().await;
            let limits = Options {
                timeout: Some(Duration::from_secs(3)),
                max_silent: Some(Duration::from_secs(1)),
                max_log_bytes: Some(10_000),
                ..Options::default()
            };
            connection.set_options(&limits).await.unwrap();
            let request = BasicDerivation::new(&derivation, []).unwrap();
            let (result, _) = build(&mut connection, &path, &request).await;
            println!("{name}: {result:?}");
            assert!(expected.contains(&result.status), "{name}: {result:?}");
            assert!(!result.message.is_empty() && !result.message.contains('\u{1b}'), "{result:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn dropping_the_connection_ends_the_builder() {
    with_each_nix(async |world| {
        let (path, derivation) = world.derivation("slow", "echo begun; while :; do sleep 1; done", "");
        let mut connection = world.connect().await;
        let request = BasicDerivation::new(&derivation, []).unwrap();
        let mut running = connection.build_derivation(&path, &request).await.unwrap();
        while running.next().await.unwrap() != Some(Event::LogLine(b"begun".to_vec())) {}
        drop(connection);
        // The lock of the output is free again once the builder is gone: another build of it gets to its log.
        let mut connection = world.connect().await;
        let mut again = connection.build_derivation(&path, &request).await.unwrap();
        while again.next().await.unwrap() != Some(Event::LogLine(b"begun".to_vec())) {}
    })
    .await;
}

#[tokio::test]
async fn an_unresolved_derivation_cannot_be_asked_for() {
    with_each_nix(async |world: &World| {
        // What needs content-addressed outputs can only be written by a daemon with that feature; the text is enough here.
        let aterm = br#"Derive([("out","","","")],[],[],"x86_64-linux","/bin/sh",[],[("out","")])"#;
        let derivation = gradient_nix::Derivation::from_aterm_bytes(aterm, "deferred").unwrap();
        assert!(BasicDerivation::new(&derivation, []).is_err());
        assert!(world.connect().await.is_in_step());
    })
    .await;
}
