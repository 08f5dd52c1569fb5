//! Each kind of derivation: those that build, and those that are refused.

use gradient_nix::{DerivationKind, InputDerivationHash, UnsupportedDerivation};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

use super::*;

/// Two outputs, of which `dev` refers to `out`.
const BELOW: &str = "(derivation { name = \"below\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; PATH = \"/bin\";
    args = [ \"-e\" \"-c\" \"echo from below > $out; echo $out > $dev\" ]; outputs = [ \"out\" \"dev\" ]; })";

/// Builds [`BELOW`] on another machine with the same Nix; the server has its outputs then. What others refer to comes first.
async fn below(world: &World) -> Vec<InputPath> {
    let other = World::new(world.programs.clone()).await;
    let task = other.task_of(BELOW).await;
    let derivation = task.derivation.clone();
    let Report::Built { mut outputs, .. } = other.run(task).await.unwrap() else { panic!("not built") };
    world.server.has.lock().unwrap().extend(other.server.got.lock().unwrap().drain());
    outputs.sort_by_key(|output| output.references.len());
    let input = |BuiltOutput { path, nar_hash, nar_size, references, .. }| InputPath {
        path,
        nar_hash,
        nar_size,
        references,
        deriver: Some(derivation.clone()),
        content_address: None,
        upstream: None,
    };
    outputs.into_iter().map(input).collect()
}

/// Builds, and gives the one output and the NAR of it that was uploaded.
async fn built(world: &World, task: BuildTask) -> (BuiltOutput, String) {
    let report = world.run(task).await.unwrap_or_else(|failed| panic!("{failed:?}: {}", world.log()));
    let Report::Built { outputs, .. } = report else { panic!("{report:?}") };
    let [output] = <[BuiltOutput; 1]>::try_from(outputs).unwrap();
    let nar = world.server.got.lock().unwrap()[&output.path.to_string()].clone();
    (output, String::from_utf8_lossy(&nar).into_owned())
}

#[tokio::test]
async fn outputs_of_other_derivations_are_inputs() {
    with_each_nix(async |world| {
        let more = format!("dev = {BELOW}.dev;");
        let mut task = world.task("above", "echo above $dev > $out; cat $(cat $dev) >> $out", &more).await;
        task.inputs = below(world).await;
        let dev = task.inputs[1].path.clone();
        let (output, nar) = built(world, task).await;
        assert_eq!(output.references, [dev]);
        assert!(nar.contains("from below\n"), "{nar}");
    })
    .await;
}

#[tokio::test]
async fn a_derivation_itself_is_an_input() {
    with_each_nix(async |world| {
        let other = World::new(world.programs.clone()).await;
        let needed = other.task_of(BELOW).await;
        let more = format!("file = builtins.unsafeDiscardOutputDependency {BELOW}.drvPath;");
        let expression = "cat $file > $out";
        let written = other.task("reader", expression, &more).await;
        let mut task = task(written.derivation, written.aterm);
        let address = format!("text:{}", sha256(&needed.aterm));
        let file = file(world, needed.derivation.clone(), &needed.aterm);
        task.inputs = vec![InputPath { content_address: Some(address), ..file }];
        let (output, nar) = built(world, task).await;
        assert!(nar.contains("echo from below"), "{nar}");
        let below = parse(&needed).unwrap().outputs["out"].path().unwrap().clone();
        assert!(!output.references.contains(&below), "{output:?}");
    })
    .await;
}

/// In Nix's notation.
fn sha256(bytes: &[u8]) -> NarHash {
    let mut hash = gradient_nix::NixHasher::new(gradient_nix::HashAlgorithm::Sha256);
    hash.update(bytes);
    NarHash(hash.finalize().digest_as_bytes().try_into().unwrap())
}

/// The script of a builder that has its attributes in a file only.
const COPY_ATTRIBUTES: &str =
    r#"out=$(/bin/sed 's/.*"outputs":{"out":"\([^"]*\)"}.*/\1/' .attrs.json); /bin/cat .attrs.json > $out"#;

#[tokio::test]
async fn structured_attributes_are_there() {
    with_each_nix(async |world| {
        let more = "__structuredAttrs = true; list = [ 1 true \"text\" ]; nested.attribute = \"value\";";
        let (_, nar) = built(world, world.task("structured", COPY_ATTRIBUTES, more).await).await;
        assert!(nar.contains(r#""list":[1,true,"text"]"#) && nar.contains(r#""nested":{"attribute":"value"}"#), "{nar}");
    })
    .await;
}

#[tokio::test]
async fn closures_are_exported_to_the_builder() {
    with_each_nix(async |world| {
        let inputs = below(world).await;
        let plain = (
            "plain",
            "cat graph > $out".to_owned(),
            format!("exportReferencesGraph = [ \"graph\" {BELOW}.dev ]; dev = {BELOW}.dev;"),
        );
        let structured = (
            "structured",
            COPY_ATTRIBUTES.to_owned(),
            format!("__structuredAttrs = true; exportReferencesGraph.graph = [ {BELOW}.dev ]; dev = {BELOW}.dev;"),
        );
        for (name, script, more) in [plain, structured] {
            let mut task = world.task(name, &script, &more).await;
            task.inputs.clone_from(&inputs);
            let (output, nar) = built(world, task).await;
            for input in &inputs {
                assert!(nar.contains(&input.path.to_absolute()), "{name}: {nar}");
                assert!(output.references.contains(&input.path), "{name}: {output:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn nix_itself_fetches_a_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let (mut line, mut is_known) = (String::new(), false);
            while stream.read_line(&mut line).await.is_ok_and(|bytes| bytes > 2) {
                is_known |= line.starts_with("GET /greeting.txt ");
                line.clear();
            }
            let answer = if is_known {
                "200 OK\r\ncontent-length: 6\r\n\r\nhello\n"
            } else {
                "404 Not Found\r\ncontent-length: 0\r\n\r\n"
            };
            let _ = stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await;
        }
    });
    let fetch = async |world: &World, file: &str, hash: &str| {
        let url = format!("http://{address}/{file}");
        world.task_of(&format!("import <nix/fetchurl.nix> {{ url = \"{url}\"; sha256 = \"{hash}\"; }}")).await
    };
    with_each_nix(async |world| {
        const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let (output, nar) = built(world, fetch(world, "greeting.txt", HELLO).await).await;
        assert!(output.path.to_string().ends_with("-greeting.txt") && nar.contains("hello\n"), "{nar}");
        let wrong = world.run(fetch(world, "greeting.txt", &"0".repeat(64)).await).await.unwrap_err();
        assert!(wrong.kind == FailureKind::Permanent && wrong.message.contains("hash mismatch"), "{wrong:?}");
    })
    .await;
}

#[tokio::test]
async fn a_content_addressed_output_comes_with_its_address() {
    with_each_nix_set_to("extra-experimental-features = ca-derivations", async |world| {
        let content = "__contentAddressed = true; outputHashMode = \"recursive\"; outputHashAlgo = \"sha256\";";
        let (output, nar) = built(world, world.task("floating", "echo at $out > $out", content).await).await;
        assert_eq!((output.path.name(), &output.references), ("floating", &vec![output.path.clone()]));
        assert!(nar.contains(&format!("at {}\n", output.path.to_absolute())), "{nar}");
        let declared = world.server.declared.lock().unwrap()[&output.path.to_string()].clone();
        assert!(declared.0.starts_with("fixed:r:sha256:"), "{declared:?}");
        assert_eq!(declared.1, output.path.to_string());
    })
    .await;
}

/// As Nix 2.34 wrote them, which is how 2.8 writes those that it knows.
const UNSUPPORTED: &[(&str, &str, UnsupportedDerivation)] = &[
    (
        "2rdlmw9mr2f9788766x1kg8v6sc5s8i7-impure.drv",
        r#"Derive([("out","","r:sha256","impure")],[],[],"x86_64-linux","/bin/sh",["-e","-c","date > $out"],[("PATH","/bin"),("builder","/bin/sh"),("name","impure"),("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"),("system","x86_64-linux")])"#,
        UnsupportedDerivation::Impure,
    ),
    (
        "rrnm16k29rk3zmh91458c7avhwq098v0-made.drv.drv",
        r#"Derive([("out","","text:sha256","")],[],[],"x86_64-linux","/bin/sh",["-e","-c","echo > $out"],[("PATH","/bin"),("builder","/bin/sh"),("name","made.drv"),("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"),("outputHashAlgo","sha256"),("outputHashMode","text"),("system","x86_64-linux")])"#,
        UnsupportedDerivation::Dynamic,
    ),
    (
        "sc75pnsq8kisj7zydqc5v0dnm0zi8zyx-dynamic.drv",
        r#"DrvWithVersion("xp-dyn-drv",[("out","","","")],[("/nix/store/rrnm16k29rk3zmh91458c7avhwq098v0-made.drv.drv",([],[("out",["out"])]))],[],"x86_64-linux","/bin/sh",["-e","-c","cat $dep > $out"],[("PATH","/bin"),("builder","/bin/sh"),("dep","/0hyrmcyinirinai7x2h4hqvsj44g5bsihzz4zcks1pxc4lmdw002"),("name","dynamic"),("out",""),("system","x86_64-linux")])"#,
        UnsupportedDerivation::Dynamic,
    ),
    // Its own path is known, but not what it needs.
    (
        "3imgn66rh1g6whvdlim56nims6qlwlsm-fixed.drv",
        r#"DrvWithVersion("xp-dyn-drv",[("out","/nix/store/6lnir0ix1djqgwxw71l0sxvncdanxgx1-fixed","sha256","adcf791ae2803c0c10f0dab9c430c39ac580bf95d6a834a248f4dedd72c69665")],[("/nix/store/rrnm16k29rk3zmh91458c7avhwq098v0-made.drv.drv",([],[("out",["out"])]))],[],"x86_64-linux","/bin/sh",["-e","-c","cat $dep > $out"],[("PATH","/bin"),("builder","/bin/sh"),("dep","/0hyrmcyinirinai7x2h4hqvsj44g5bsihzz4zcks1pxc4lmdw002"),("name","fixed"),("out","/nix/store/6lnir0ix1djqgwxw71l0sxvncdanxgx1-fixed"),("outputHash","adcf791ae2803c0c10f0dab9c430c39ac580bf95d6a834a248f4dedd72c69665"),("outputHashAlgo","sha256"),("outputHashMode","flat"),("system","x86_64-linux")])"#,
        UnsupportedDerivation::Dynamic,
    ),
];

#[tokio::test]
async fn dynamic_and_impure_derivations_are_refused() {
    with_each_nix(async |world| {
        for (path, aterm, reason) in UNSUPPORTED {
            let path: StorePath = path.parse().unwrap();
            // The server does not even hand them out.
            let verified =
                gradient_nix::derivation::verify(&path, aterm.as_bytes(), |_| Some(InputDerivationHash::Deferred(None))).unwrap();
            assert_eq!(verified.kind(), DerivationKind::Unsupported(*reason), "{path}");
            let failed = world.run(task(path, aterm.as_bytes().to_vec())).await.unwrap_err();
            assert_eq!(failed.kind, FailureKind::UnsupportedDerivation, "{failed:?}");
        }
    })
    .await;
}
