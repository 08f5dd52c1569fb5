//! What clients upload, by the requests that Nix sends.

mod chunks;
mod lies;
mod nix;
pub(super) mod world;

use gradient_domain::BuiltInRole;
use gradient_engine::NewPin;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::private::key;
use world::{World, nar_of, narinfo, path_of};

gradient_test_support::both_databases!(
    a_path_is_there_once_its_narinfo_came,
    a_path_waits_for_what_it_refers_to,
    only_who_may_write_writes,
    a_hash_gives_nobody_anything,
    a_path_never_changes,
    signatures_are_added,
    a_push_asks_once,
    a_realisation_comes_back_signed,
    debuginfo_is_found_without_being_told,
    logs_come_back,
    what_nobody_names_goes,
);

async fn a_path_is_there_once_its_narinfo_came(database: &str) {
    let world = World::start(database).await;
    let (path, nar) = (path_of("hello"), nar_of(b"hello\n"));
    let sent = world.put_nar(&nar).await;
    assert_eq!(sent.status, StatusCode::OK, "{}", sent.text);
    // Its uploader finds the NAR, so that nobody sends it twice; nobody reads anything yet.
    assert_eq!(world.send(Method::HEAD, &nar.url, &world.key, Vec::new()).await.status, StatusCode::OK);
    assert_eq!(world.get(&nar.url).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get(&format!("{}.narinfo", path.hash())).await.status, StatusCode::NOT_FOUND);

    let sent = world.put_narinfo(&path, &nar, &[]).await;
    assert_eq!((sent.status, sent.text.as_str()), (StatusCode::OK, "published\n"));
    let shown = world.get(&format!("{}.narinfo", path.hash())).await.text;
    assert!(shown.contains(&format!("URL: nar/{}.nar.zst\n", nar.hash.to_nix32())), "{shown}");
    assert!(shown.contains("\nSig: "), "{shown}");
    let stored = world.server.http.get(format!("{}/nar/{}.nar.zst", world.url(), nar.hash.to_nix32())).send().await.unwrap();
    assert_eq!(zstd::decode_all(stored.bytes().await.unwrap().as_ref()).unwrap(), nar.bytes);
    // It lists what is in it, whatever the client's listing says.
    let lie = br#"{"version":1,"root":{"type":"directory","entries":{}}}"#.to_vec();
    assert_eq!(world.send(Method::PUT, &format!("{}.ls", path.hash()), &world.key, lie).await.status, StatusCode::OK);
    let listing: Value = serde_json::from_str(&world.get(&format!("{}.ls", path.hash())).await.text).unwrap();
    assert_eq!(listing["root"]["size"], json!(6));
}

async fn a_path_waits_for_what_it_refers_to(database: &str) {
    let world = World::start(database).await;
    let (first, second, third) = (path_of("first"), path_of("second"), path_of("third"));
    let third_nar = nar_of(format!("/nix/store/{second} and /nix/store/{third}").as_bytes());
    let second_nar = nar_of(format!("/nix/store/{first}").as_bytes());
    let first_nar = nar_of(b"first");
    for nar in [&third_nar, &second_nar, &first_nar] {
        world.put_nar(nar).await;
    }
    for (path, nar, references, other) in
        [(&third, &third_nar, vec![&second, &third], &second), (&second, &second_nar, vec![&first], &first)]
    {
        let sent = world.put_narinfo(path, nar, &references).await;
        assert_eq!(sent.status, StatusCode::OK);
        assert!(sent.text.starts_with("pending: ") && sent.text.contains(&other.hash().to_string()), "{}", sent.text);
        assert_eq!(world.get(&format!("{}.narinfo", path.hash())).await.status, StatusCode::NOT_FOUND);
        assert_eq!(world.get(&format!("nar/{}.nar.zst", nar.hash.to_nix32())).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.put_narinfo(&first, &first_nar, &[]).await.text, "published\n");
    for path in [&first, &second, &third] {
        assert_eq!(world.get(&format!("{}.narinfo", path.hash())).await.status, StatusCode::OK, "{path}");
    }
}

async fn only_who_may_write_writes(database: &str) {
    let world = World::start(database).await;
    let (path, nar) = (path_of("hello"), nar_of(b"hello\n"));
    let reader = key(&world.server, world.owner, &["readStore"], NewPin::Everywhere).await;
    let elsewhere = key(&world.server, world.owner, &["writeStore"], NewPin::Cache(world.other)).await;
    let strangers = key(&world.server, world.stranger, &["readStore", "writeStore"], NewPin::Everywhere).await;
    let requests: [(Method, String); 9] = [
        (Method::PUT, nar.url.clone()),
        (Method::PUT, format!("{}.narinfo", path.hash())),
        (Method::PUT, format!("{}.ls", path.hash())),
        (Method::PUT, "nix-cache-info".to_owned()),
        (Method::PUT, "log/0ccnxa25whszw7mgbgyzdm4nqc0zwnm8-app.drv".to_owned()),
        (Method::PUT, format!("realisations/sha256:{}!out.doi", "a".repeat(64))),
        (Method::PUT, "debuginfo/abcdef.debug".to_owned()),
        (Method::POST, "uploads".to_owned()),
        (Method::POST, "get-missing-paths".to_owned()),
    ];
    for (method, url) in requests {
        let status = async |password: &str| world.send(method.clone(), &url, password, nar.sent.clone()).await.status;
        assert_eq!(status("").await, StatusCode::UNAUTHORIZED, "{url}");
        assert_eq!(status("wrong").await, StatusCode::UNAUTHORIZED, "{url}");
        assert_eq!(status(&reader).await, StatusCode::FORBIDDEN, "{url}: the cache is public, the key may not");
        assert_eq!(status(&strangers).await, StatusCode::FORBIDDEN, "{url}: not a member");
        assert_eq!(status(&elsewhere).await, StatusCode::NOT_FOUND, "{url}: pinned to another cache");
    }
    assert_eq!(world.get(&format!("{}.narinfo", path.hash())).await.status, StatusCode::NOT_FOUND);
}

async fn a_hash_gives_nobody_anything(database: &str) {
    let world = World::start(database).await;
    let bobs = world.member(BuiltInRole::Write).await;
    let (path, nar) = (path_of("secret"), nar_of(b"the secret\n"));
    world.put_nar(&nar).await;
    // Another writer of the same cache, and its owner in another one.
    assert_eq!(world.send(Method::HEAD, &nar.url, &bobs, Vec::new()).await.status, StatusCode::NOT_FOUND);
    let text = narinfo(&path, &nar, &[]);
    let sent = world.send(Method::PUT, &format!("{}.narinfo", path.hash()), &bobs, text.clone().into_bytes()).await;
    assert_eq!(sent.status, StatusCode::BAD_REQUEST);
    assert!(sent.text.contains("upload nar/"), "{}", sent.text);
    let sent = world.send_to("other", Method::PUT, &format!("{}.narinfo", path.hash()), &world.key, text.into_bytes()).await;
    assert_eq!(sent.status, StatusCode::BAD_REQUEST, "{}", sent.text);
    // Who has the bytes has them.
    world.send(Method::PUT, &nar.url, &bobs, nar.sent.clone()).await;
    assert_eq!(world.send(Method::HEAD, &nar.url, &bobs, Vec::new()).await.status, StatusCode::OK);
}

async fn a_path_never_changes(database: &str) {
    let world = World::start(database).await;
    let (path, nar, other) = (path_of("hello"), nar_of(b"hello\n"), nar_of(b"other\n"));
    world.push(&path, &nar, &[]).await;
    let before = world.get(&format!("{}.narinfo", path.hash())).await.text;
    world.put_nar(&other).await;
    let sent = world.put_narinfo(&path, &other, &[]).await;
    assert_eq!(sent.status, StatusCode::CONFLICT, "{}", sent.text);
    // The same again is fine, and so is the same content under another name, without sending it again.
    assert_eq!(world.put_narinfo(&path, &nar, &[]).await.status, StatusCode::OK);
    assert_eq!(world.get(&format!("{}.narinfo", path.hash())).await.text, before);
    let bobs = world.member(BuiltInRole::Write).await;
    let again = path_of("again");
    let text = narinfo(&again, &nar, &[]).into_bytes();
    let sent = world.send(Method::PUT, &format!("{}.narinfo", again.hash()), &bobs, text).await;
    assert_eq!((sent.status, sent.text.as_str()), (StatusCode::OK, "published\n"), "the cache has that NAR");
}

async fn signatures_are_added(database: &str) {
    let world = World::start(database).await;
    let (path, nar) = (path_of("hello"), nar_of(b"hello\n"));
    world.push(&path, &nar, &[]).await;
    let own = world.get(&format!("{}.narinfo", path.hash())).await.text;
    let own = own.lines().find(|line| line.starts_with("Sig: ")).unwrap().to_owned();
    for number in 0..20 {
        let signature = format!("Sig: other-{number}:{}\n", "A".repeat(86) + "==");
        let text = narinfo(&path, &nar, &[]) + &signature;
        let sent = world.send(Method::PUT, &format!("{}.narinfo", path.hash()), &world.key, text.into_bytes()).await;
        assert_eq!(sent.status, StatusCode::OK, "{}", sent.text);
        let shown = world.get(&format!("{}.narinfo", path.hash())).await.text;
        assert!(shown.contains(&signature) && shown.contains(&own), "at once: {shown}");
    }
    let shown = world.get(&format!("{}.narinfo", path.hash())).await.text;
    assert_eq!(shown.matches("Sig: ").count(), 9, "eight of others: {shown}");
    // Nobody signs in the cache's name.
    let (name, _) = own.trim_start_matches("Sig: ").split_once(':').unwrap();
    let forged = narinfo(&path, &nar, &[]) + &format!("Sig: {name}:{}\n", "A".repeat(86) + "==");
    world.send(Method::PUT, &format!("{}.narinfo", path.hash()), &world.key, forged.into_bytes()).await;
    let shown = world.get(&format!("{}.narinfo", path.hash())).await.text;
    assert!(shown.contains(&own) && shown.matches(&format!("Sig: {name}:")).count() == 1, "{shown}");
}

async fn a_push_asks_once(database: &str) {
    let world = World::start(database).await;
    let (here, there) = (path_of("here"), path_of("there"));
    world.push(&here, &nar_of(b"here"), &[]).await;
    let (here, there) = (here.hash().to_string(), there.hash().to_string());
    let asked = json!({"paths": [there, here, there]}).to_string().into_bytes();
    let sent = world.send(Method::POST, "get-missing-paths", &world.key, asked).await;
    assert_eq!(sent.status, StatusCode::OK, "{}", sent.text);
    assert_eq!(serde_json::from_str::<Value>(&sent.text).unwrap(), json!({"missing": [there]}));
    let many = json!({"paths": vec![here.as_str(); 10_001]}).to_string().into_bytes();
    assert_eq!(world.send(Method::POST, "get-missing-paths", &world.key, many).await.status, StatusCode::BAD_REQUEST);
    let wrong = json!({"paths": ["../../etc/passwd"]}).to_string().into_bytes();
    assert_eq!(world.send(Method::POST, "get-missing-paths", &world.key, wrong).await.status, StatusCode::BAD_REQUEST);
}

async fn a_realisation_comes_back_signed(database: &str) {
    let world = World::start(database).await;
    let path = path_of("hello");
    let file = format!("realisations/sha256:{}!out.doi", "ab".repeat(32));
    let id = format!("sha256:{}!out", "ab".repeat(32));
    let body = json!({"id": id, "outPath": path.to_string(), "dependentRealisations": {}, "signatures": []});
    let trace = "build-trace-v2/0ccnxa25whszw7mgbgyzdm4nqc0zwnm8-app.drv/out.doi";
    let put = async |file: &str, body: Value| world.send(Method::PUT, file, &world.key, body.to_string().into_bytes()).await;
    assert_eq!(put(&file, body.clone()).await.status, StatusCode::BAD_REQUEST, "the path comes first");
    world.push(&path, &nar_of(b"hello\n"), &[]).await;
    assert_eq!(put(&file, body.clone()).await.status, StatusCode::OK);
    assert_eq!(put(trace, json!({"outPath": path.to_string(), "signatures": []})).await.status, StatusCode::OK);

    let shown: Value = serde_json::from_str(&world.get(&file).await.text).unwrap();
    assert_eq!((&shown["outPath"], &shown["id"]), (&body["outPath"], &body["id"]));
    assert_eq!(shown["signatures"].as_array().unwrap().len(), 1);
    // As newer versions write it.
    assert_eq!(world.get(&file.replace('!', "%21")).await.status, StatusCode::OK);
    let shown: Value = serde_json::from_str(&world.get(trace).await.text).unwrap();
    assert!(shown["signatures"][0]["keyName"].is_string() && shown["signatures"][0]["sig"].is_string(), "{shown}");

    let other = path_of("other");
    world.push(&other, &nar_of(b"other\n"), &[]).await;
    let mut changed = body;
    changed["outPath"] = json!(other.to_string());
    let kept = put(&file, changed.clone()).await;
    assert_eq!((kept.status, kept.text.trim()), (StatusCode::OK, path.to_string().as_str()), "the first one stays");
    assert_eq!(put("realisations/x.doi", json!({})).await.status, StatusCode::BAD_REQUEST);
    // Of what the cache has lost, it knows no realisation; another one may take its place.
    world.lose(&path).await;
    assert_eq!(world.get(&file).await.status, StatusCode::NOT_FOUND);
    assert_eq!(put(&file, changed).await.text.trim(), other.to_string());
    let shown: Value = serde_json::from_str(&world.get(&file).await.text).unwrap();
    assert_eq!(shown["outPath"], json!(other.to_string()));
    assert_eq!(world.get(&file.replace("out.doi", "dev.doi")).await.status, StatusCode::NOT_FOUND);
}

async fn debuginfo_is_found_without_being_told(database: &str) {
    let world = World::start(database).await;
    let mut nar = gradient_nix::nar::Encoder::new(Vec::new()).unwrap();
    for name in [None, Some(&b"lib"[..]), Some(b"debug"), Some(b".build-id"), Some(b"ab")] {
        nar.start_directory(name).unwrap();
    }
    nar.regular(Some(b"cdef01.debug"), false, b"ELF").unwrap();
    for _ in 0..5 {
        nar.end_directory().unwrap();
    }
    let nar = world::Nar::new(nar.finish().unwrap());
    let path = path_of("hello-debug");
    assert_eq!(world.get("debuginfo/abcdef01.debug").await.status, StatusCode::NOT_FOUND);
    world.put_nar(&nar).await;
    assert_eq!(world.get("debuginfo/abcdef01.debug").await.status, StatusCode::NOT_FOUND, "nobody's yet");
    let lie = json!({"archive": "../nar/elsewhere.nar.xz", "member": "x"}).to_string().into_bytes();
    assert_eq!(world.send(Method::PUT, "debuginfo/abcdef01.debug", &world.key, lie).await.status, StatusCode::OK);
    world.put_narinfo(&path, &nar, &[]).await;
    let shown: Value = serde_json::from_str(&world.get("debuginfo/abcdef01.debug").await.text).unwrap();
    let archive = format!("../nar/{}.nar.zst", nar.hash.to_nix32());
    assert_eq!(shown, json!({"archive": archive, "member": "lib/debug/.build-id/ab/cdef01.debug"}));
    assert_eq!(world.get("debuginfo/abcdef01").await.status, StatusCode::OK);
    assert_eq!(world.get("debuginfo/abcdef02.debug").await.status, StatusCode::NOT_FOUND);
}

async fn logs_come_back(database: &str) {
    let world = World::start(database).await;
    let file = "log/0ccnxa25whszw7mgbgyzdm4nqc0zwnm8-app.drv";
    assert_eq!(world.get(file).await.status, StatusCode::NOT_FOUND);
    for text in ["first\n", "second\n"] {
        assert_eq!(world.send(Method::PUT, file, &world.key, text.into()).await.status, StatusCode::OK);
        assert_eq!(world.get(file).await.text, text);
    }
    assert_eq!(world.get(file.trim_end_matches(".drv")).await.text, "second\n");
    let compressed = zstd::encode_all(&b"third\n"[..], 3).unwrap();
    let request = world.server.http.put(format!("{}/{file}", world.url())).basic_auth("x", Some(&world.key));
    let sent = request.header("content-encoding", "zstd").body(compressed).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    assert_eq!(world.get(file).await.text, "third\n");
    let request = world.server.http.put(format!("{}/{file}", world.url())).basic_auth("x", Some(&world.key));
    let sent = request.header("content-encoding", "compress").body("x").send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::BAD_REQUEST);
    assert_eq!(world.get(file).await.text, "third\n");
    assert_eq!(world.send(Method::PUT, "log/nonsense", &world.key, b"x".to_vec()).await.status, StatusCode::BAD_REQUEST);
}

async fn what_nobody_names_goes(database: &str) {
    use gradient_domain::Moment;
    use std::time::Duration;
    let world = World::start(database).await;
    let (kept, lost) = (nar_of(b"kept"), nar_of(b"lost"));
    let waiting = nar_of(format!("/nix/store/{}", path_of("nowhere")).as_bytes());
    world.push(&path_of("kept"), &kept, &[]).await;
    world.put_nar(&lost).await;
    world.put_nar(&waiting).await;
    world.put_narinfo(&path_of("waiting"), &waiting, &[&path_of("nowhere")]).await;
    let there =
        async |nar: &world::Nar| world.server.blobs.size(&gradient_blobs::BlobKey::nar(&nar.hash)).await.unwrap().is_some();
    let reap = async |hours: u64| world.server.engine.reap(Moment::now().plus(Duration::from_hours(hours))).await.unwrap();
    reap(23).await;
    reap(23).await;
    assert!(there(&lost).await && there(&waiting).await);
    // What waits goes after a day, what nobody has a day later.
    reap(25).await;
    reap(50).await;
    assert!(!there(&lost).await && !there(&waiting).await);
    assert!(there(&kept).await);
    assert_eq!(world.send(Method::HEAD, &lost.url, &world.key, Vec::new()).await.status, StatusCode::NOT_FOUND);
    // It can come again.
    world.push(&path_of("lost"), &lost, &[]).await;
    assert_eq!(world.get(&format!("{}.narinfo", path_of("lost").hash())).await.status, StatusCode::OK);
}
