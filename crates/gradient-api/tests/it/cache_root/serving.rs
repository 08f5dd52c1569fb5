//! Files and directories out of stored NARs.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
};

use gradient_nix::nar::Encoder;
use gradient_test_support::nix::{Store, installations};
use reqwest::{Method, StatusCode};
use tokio::task::JoinSet;

use super::{
    cache,
    published::{APP, HELLO, Published, publish, publish_hello},
    reading::{ask, get},
    user,
};
use crate::server::Server;

gradient_test_support::both_databases!(
    files_are_served_whole_and_in_part,
    symlinks_stay_inside,
    a_directory_is_an_archive,
    what_is_not_there_is_a_404,
    a_damaged_nar_breaks_off,
    slow_readers_of_one_cache_leave_room_for_others
);

const PAGE: &str = "<script>alert(1)</script>\n";

/// More than one chunk, and nothing that repeats.
fn large() -> Vec<u8> {
    (0..100_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

/// Publishes, as `APP`, what Nix makes of a directory.
async fn publish_tree(server: &Server, id: gradient_domain::CacheId) -> Published {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path().join("tree");
    fs::create_dir_all(root.join("share/doc")).unwrap();
    fs::create_dir_all(root.join("share/none")).unwrap();
    fs::write(root.join("a.bin"), "first").unwrap();
    fs::write(root.join("large.bin"), large()).unwrap();
    fs::write(root.join("share/doc/index.html"), PAGE).unwrap();
    fs::write(root.join("share/doc/empty"), "").unwrap();
    fs::write(root.join("share/run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("share/run"), fs::Permissions::from_mode(0o755)).unwrap();
    let inside = format!("/nix/store/{APP}/share");
    let links = [
        ("page", "share/doc/index.html"),
        ("inside", inside.as_str()),
        ("loop", "loop"),
        ("out", "/etc/passwd"),
        ("up", "../x"),
        ("share/back", "../a.bin"),
    ];
    for (name, target) in links {
        symlink(target, root.join(name)).unwrap();
    }
    let nix = installations().unwrap().remove(0);
    let mut dump = Store::new("").unwrap().command(&nix, "nix-store");
    let nar = dump.arg("--dump").arg(&root).output().unwrap();
    assert!(nar.status.success(), "{}", String::from_utf8_lossy(&nar.stderr));
    publish(server, id, APP, &nar.stdout, &[]).await
}

fn address(cache: &str, path: &str) -> String {
    let (hash, _) = APP.split_once('-').unwrap();
    format!("{cache}/serve/{hash}/{path}")
}

async fn files_are_served_whole_and_in_part(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    let published = publish_tree(&server, id).await;
    publish_hello(&server, id).await;

    let (path, bytes) = (address("acme", "large.bin"), large());
    let whole = get(&server, &path).await;
    assert_eq!(whole.status, StatusCode::OK);
    assert!(whole.body == bytes);
    assert_eq!(whole.header("content-length"), bytes.len().to_string());
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    let tag = format!("\"{}\"", published.upload.nar.nar_hash.to_nix32());
    assert_eq!(whole.header("etag"), tag);
    let head = ask(&server, Method::HEAD, &path, &[]).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, whole.header("content-length")));
    let part = ask(&server, Method::GET, &path, &[("range", "bytes=200000-299999")]).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert!(Some(part.body.as_slice()) == bytes.get(200_000..300_000));
    assert_eq!(part.header("content-range"), format!("bytes 200000-299999/{}", bytes.len()));
    let beyond = ask(&server, Method::GET, &path, &[("range", "bytes=400000-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let known = ask(&server, Method::GET, &path, &[("if-none-match", &tag)]).await;
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);

    let page = get(&server, &address("acme", "share/doc/index.html")).await;
    assert_eq!(String::from_utf8(page.body.clone()).unwrap(), PAGE);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("content-security-policy"), "sandbox");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let empty = get(&server, &address("acme", "share/doc/empty")).await;
    assert_eq!((empty.status, empty.header("content-length")), (StatusCode::OK, "0"));
    let (hash, _) = HELLO.split_once('-').unwrap();
    for path in [format!("acme/serve/{hash}"), format!("acme/serve/{hash}/")] {
        assert_eq!(get(&server, &path).await.body, b"hello\n", "{path}");
    }
}

async fn symlinks_stay_inside(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    publish_tree(&server, id).await;

    for path in ["page", "inside/doc/index.html"] {
        assert_eq!(get(&server, &address("acme", path)).await.body, PAGE.as_bytes(), "{path}");
    }
    assert_eq!(get(&server, &address("acme", "inside/back")).await.body, b"first");
    for path in ["loop", "loop/x", "out", "up", "up/x"] {
        assert_eq!(get(&server, &address("acme", path)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

async fn a_directory_is_an_archive(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    publish_tree(&server, id).await;

    let share = get(&server, &address("acme", "share")).await;
    assert_eq!(share.header("content-type"), "application/zstd");
    assert_eq!(share.header("content-disposition"), "attachment; filename=\"share.tar.zst\"");
    assert_eq!(share.header("content-security-policy"), "sandbox");
    let found: Vec<(String, u32, u64, String)> = members(&share.body, |entry| {
        let header = entry.header();
        let target = header.link_name().unwrap().map_or(String::new(), |target| target.display().to_string());
        (entry.path().unwrap().display().to_string(), header.mode().unwrap(), header.mtime().unwrap(), target)
    });
    let member = |path: &str, mode, target: &str| (path.to_owned(), mode, 0, target.to_owned());
    let expected = [
        member("share/", 0o755, ""),
        member("share/doc/", 0o755, ""),
        member("share/none/", 0o755, ""),
        member("share/doc/empty", 0o644, ""),
        member("share/doc/index.html", 0o644, ""),
        member("share/run", 0o755, ""),
        member("share/back", 0o777, "../a.bin"),
    ];
    assert_eq!(found, expected);
    assert_eq!(get(&server, &address("acme", "inside/")).await.status, StatusCode::OK);

    let all = get(&server, &address("acme", "")).await;
    assert_eq!(all.header("content-disposition"), "attachment; filename=\"app.tar.zst\"");
    assert!(all.body == get(&server, &address("acme", "")).await.body, "the same again");
    let contents: BTreeMap<String, Vec<u8>> = members(&all.body, |entry| {
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    assert!(contents.get("app/large.bin") == Some(&large()));
    assert_eq!(contents.get("app/share/doc/index.html").map(Vec::as_slice), Some(PAGE.as_bytes()));
    let head = ask(&server, Method::HEAD, &address("acme", ""), &[]).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, ""));
    let known = ask(&server, Method::GET, &address("acme", ""), &[("if-none-match", all.header("etag"))]).await;
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);
}

fn members<T, C: FromIterator<T>>(archive: &[u8], read: impl Fn(&mut tar::Entry<'_, &[u8]>) -> T) -> C {
    let archive = zstd::decode_all(archive).unwrap();
    tar::Archive::new(archive.as_slice()).entries().unwrap().map(|entry| read(&mut entry.unwrap())).collect()
}

async fn what_is_not_there_is_a_404(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    cache(&server, owner, "other", true).await;
    publish_tree(&server, id).await;

    for path in [
        address("acme", "nothing"),
        address("acme", "a.bin/x"),
        address("acme", "share/%2e%2e%2fa.bin"),
        address("other", "a.bin"),
        format!("acme/serve/x/{APP}"),
        "acme/serve/7h7qgvs4kgzsn8a6rb273saxyqh4jxlz/a.bin".to_owned(),
    ] {
        assert_eq!(get(&server, &path).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(ask(&server, Method::HEAD, &path, &[]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

async fn a_damaged_nar_breaks_off(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    let published = publish_tree(&server, id).await;
    let key = gradient_blobs::BlobKey::nar(&published.upload.nar.nar_hash);
    let half = published.compressed.get(..published.compressed.len() / 2).unwrap().to_vec();
    server.blobs.delete(&key).await.unwrap();
    server.blobs.put(&key, half.into()).await.unwrap();

    for path in ["share", "large.bin"] {
        let response = server.http.get(format!("{}/cache/{}", server.url, address("acme", path))).send().await;
        // However far it came: it must not look complete.
        if let Ok(response) = response {
            assert!(response.bytes().await.is_err(), "{path}");
        }
    }
}

async fn slow_readers_of_one_cache_leave_room_for_others(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let (acme, other) = (cache(&server, owner, "acme", true).await, cache(&server, owner, "other", true).await);
    publish_hello(&server, other).await;
    // More than what is on the way to somebody who does not read.
    let mut nar = Encoder::new(Vec::new()).unwrap();
    nar.regular(None, false, &vec![0; 32 << 20]).unwrap();
    publish(&server, acme, APP, &nar.finish().unwrap(), &[]).await;

    let mut asked = JoinSet::new();
    for _ in 0..17 {
        asked.spawn(server.http.get(format!("{}/cache/{}", server.url, address("acme", ""))).send());
    }
    let mut unread = Vec::new();
    let refused = loop {
        let response = asked.join_next().await.unwrap().unwrap().unwrap();
        if response.status() != StatusCode::OK {
            break response.status();
        }
        unread.push(response);
    };
    assert_eq!((refused, unread.len()), (StatusCode::SERVICE_UNAVAILABLE, 4));
    let (hash, _) = HELLO.split_once('-').unwrap();
    assert_eq!(get(&server, &format!("other/serve/{hash}")).await.body, b"hello\n");
}
