//! Inputs that are in a cache elsewhere.

use gradient_nix::SigningKey;
use gradient_protocol::UpstreamNar;

use super::*;

/// A path with a digit for its hash, which only an upstream has: a file with this content.
fn input(world: &World, digit: &str, content: &str) -> InputPath {
    let path: StorePath = format!("{}-input.txt", digit.repeat(32)).parse().unwrap();
    let mut input = file(world, path.clone(), content.as_bytes());
    let mut has = world.server.has.lock().unwrap();
    let nar = has.remove(&path.to_string()).unwrap();
    has.insert(format!("{digit}.nar.zst"), nar);
    let key = SigningKey::from_bytes("upstream-1", &[7; 32]).unwrap();
    let signed = format!("1;{};{};{};", path.to_absolute(), input.nar_hash, input.nar_size);
    input.upstream = Some(UpstreamNar {
        url: format!("http://{}/nar/{digit}.nar.zst", world.server.socket.authority()),
        compression: "zstd".to_owned(),
        public_key: key.public().to_string(),
        signature: key.sign(&signed),
        local: true,
    });
    input
}

#[tokio::test]
async fn it_is_fetched_from_there() {
    with_each_nix(async |world| {
        let input = input(world, "1", "from an upstream\n");
        let mut task = world.task("from-upstream", &format!("cat {} > $out", input.path.to_absolute()), "").await;
        task.inputs = vec![input];
        let report = world.run(task).await.unwrap();
        assert!(matches!(report, Report::Built { .. }), "{report:?}");
        let got = world.server.got.lock().unwrap();
        assert!(got.values().any(|nar| String::from_utf8_lossy(nar).contains("from an upstream")));
    })
    .await;
}

#[tokio::test]
async fn nothing_that_is_not_what_was_signed_gets_into_the_store() {
    type Change = fn(&World, &mut InputPath, &mut UpstreamNar);
    let cases: [(&str, Change, &str); 6] = [
        ("2", |_, input, _| input.references = vec![input.path.clone()], "not signed by upstream-1"),
        (
            "3",
            |_, _, nar| nar.public_key = SigningKey::from_bytes("upstream-1", &[8; 32]).unwrap().public().to_string(),
            "not signed by upstream-1",
        ),
        (
            "4",
            |world, _, _| {
                let mut has = world.server.has.lock().unwrap();
                let nar = has.get_mut("4.nar.zst").unwrap();
                let place = nar.windows(4).position(|bytes| bytes == b"text").unwrap();
                nar[place] = b'n';
            },
            "hash mismatch",
        ),
        ("5", |_, _, nar| nar.url.push_str(".gone"), "404"),
        ("6", |_, _, nar| nar.local = false, "not public"),
        ("7", |_, _, nar| nar.url = "file:///etc/passwd".to_owned(), "none of http or https"),
    ];
    with_each_nix(async |world| {
        for (digit, change, sentence) in cases {
            let mut input = input(world, digit, "a text\n");
            let mut nar = input.upstream.take().unwrap();
            change(world, &mut input, &mut nar);
            input.upstream = Some(nar);
            let path = input.path.clone();
            let mut task = world.task("hostile", "echo > $out", "").await;
            task.inputs = vec![input];
            let failure = world.run(task).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::InputsMissing, "{digit}: {}", failure.message);
            assert!(failure.message.contains(sentence), "{digit}: {}", failure.message);
            // Nix may have unpacked it before it knew, but does not take it for a path of the store.
            let known = world.daemons.connect().await.unwrap().query_path_info(&path).await.unwrap();
            assert!(known.is_none(), "{digit}");
        }
    })
    .await;
}
