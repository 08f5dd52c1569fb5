//! What each route answers.

use gradient_engine::CacheChanges;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::json;

use super::{
    cache,
    published::{APP, APP_DRV, HELLO, publish_app, publish_hello},
    user,
};
use crate::server::Server;

gradient_test_support::both_databases!(
    a_cache_says_what_it_is,
    narinfos_are_signed,
    a_nar_is_served_whole_in_part_or_not_at_all,
    listings_are_json,
    what_is_unknown_is_a_404
);

pub(super) struct Reply {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(super) async fn ask(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
    let request = server.http.request(method, format!("{}/cache/{path}", server.url));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Reply { status, headers, body: response.bytes().await.unwrap().into() }
}

pub(super) async fn get(server: &Server, path: &str) -> Reply {
    ask(server, Method::GET, path, &[]).await
}

async fn a_cache_says_what_it_is(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    cache(&server, owner, "acme", true).await;

    let info = get(&server, "acme/nix-cache-info").await;
    assert_eq!(info.header("content-type"), "text/x-nix-cache-info");
    assert_eq!(info.body, b"StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n");
    let info = get(&server, "acme/nix-cache-info?json").await;
    assert_eq!(info.json(), json!({"StoreDir": "/nix/store", "WantMassQuery": true, "Priority": 30}));
    let info = get(&server, "acme/gradient-cache-info").await;
    let expected = format!("GradientVersion: {}\nGradientUrl: {}\n", env!("CARGO_PKG_VERSION"), server.url);
    assert_eq!(String::from_utf8(info.body).unwrap(), expected);
    let info = get(&server, "acme/gradient-cache-info?json").await;
    assert_eq!(info.json(), json!({"GradientVersion": env!("CARGO_PKG_VERSION"), "GradientUrl": server.url}));

    let head = ask(&server, Method::HEAD, "acme/nix-cache-info", &[]).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, "51"));
}

async fn narinfos_are_signed(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    publish_hello(&server, id).await;
    let app = publish_app(&server, id).await;

    let (hash, _) = APP.split_once('-').unwrap();
    let path = format!("acme/{hash}.narinfo");
    let narinfo = get(&server, &path).await;
    assert_eq!(narinfo.status, StatusCode::OK);
    assert_eq!(narinfo.header("content-type"), "text/x-nix-narinfo");
    let text = String::from_utf8(narinfo.body).unwrap();
    let (text, signature) = text.split_once("Sig: ").unwrap();
    let nar = &app.upload.nar;
    let expected = format!(
        "StorePath: /nix/store/{APP}\nURL: nar/{}.nar.zst\nCompression: zstd\nFileHash: {}\nFileSize: {}\nNarHash: {}\nNarSize: {}\n\
         References: {HELLO}\nDeriver: {APP_DRV}\n",
        nar.nar_hash.to_nix32(),
        app.upload.file_hash,
        app.upload.file_size,
        nar.nar_hash,
        nar.nar_size
    );
    assert_eq!(text, expected);

    let found = server.engine.find_cache(&gradient_auth::Caller::Anonymous, "acme".parse().unwrap()).await.unwrap().unwrap();
    let fingerprint = format!("1;/nix/store/{APP};{};{};/nix/store/{HELLO}", nar.nar_hash, nar.nar_size);
    assert!(found.public_key.verifies(&fingerprint, signature.trim_end()));

    let json = get(&server, &format!("{path}?json")).await.json();
    assert_eq!(json["StorePath"], format!("/nix/store/{APP}"));
    assert_eq!(json["Sig"], json!([signature.trim_end()]));
    let again = get(&server, &path).await;
    assert_eq!(again.status, StatusCode::OK);
    let head = ask(&server, Method::HEAD, &path, &[]).await;
    assert_eq!(head.header("content-length"), again.header("content-length"));
    assert!(head.body.is_empty());
}

async fn a_nar_is_served_whole_in_part_or_not_at_all(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    let app = publish_app(&server, id).await;
    let (bytes, size) = (&app.compressed, app.compressed.len().to_string());
    let path = format!("acme/nar/{}.nar.zst", app.upload.nar.nar_hash.to_nix32());

    let whole = get(&server, &path).await;
    assert_eq!((whole.status, &whole.body), (StatusCode::OK, bytes));
    assert_eq!(whole.header("content-type"), "application/x-nix-nar");
    assert_eq!(whole.header("content-length"), size);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-encoding"), "");
    assert_eq!(whole.header("cache-control"), "public, max-age=31536000, immutable");
    let tag = format!("\"{}\"", app.upload.file_hash.to_nix32());
    assert_eq!(whole.header("etag"), tag);

    let head = ask(&server, Method::HEAD, &path, &[]).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, size.as_str()));
    assert!(head.body.is_empty());

    let part = ask(&server, Method::GET, &path, &[("range", "bytes=10-19")]).await;
    assert_eq!((part.status, part.body.as_slice()), (StatusCode::PARTIAL_CONTENT, bytes.get(10..20).unwrap()));
    assert_eq!(part.header("content-range"), format!("bytes 10-19/{size}"));
    assert_eq!(part.header("content-length"), "10");
    let rest = ask(&server, Method::GET, &path, &[("range", "bytes=10-"), ("if-range", &tag)]).await;
    assert_eq!((rest.status, rest.body.as_slice()), (StatusCode::PARTIAL_CONTENT, bytes.get(10..).unwrap()));
    let other = ask(&server, Method::GET, &path, &[("range", "bytes=10-"), ("if-range", "\"x\"")]).await;
    assert_eq!((other.status, &other.body), (StatusCode::OK, bytes));
    let beyond = ask(&server, Method::GET, &path, &[("range", &format!("bytes={size}-"))]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));

    let known = ask(&server, Method::GET, &path, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status, known.header("etag")), (StatusCode::NOT_MODIFIED, tag.as_str()));
    assert!(known.body.is_empty());
}

async fn listings_are_json(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    publish_app(&server, id).await;

    let (hash, _) = APP.split_once('-').unwrap();
    let listing = get(&server, &format!("acme/{hash}.ls")).await;
    assert_eq!(listing.header("content-type"), "application/json");
    let json = listing.json();
    assert_eq!(json["version"], 1);
    assert_eq!(json["root"]["entries"]["hello"], json!({"type": "symlink", "target": format!("/nix/store/{HELLO}")}));
    assert_eq!(json["root"]["entries"]["app"]["executable"], true);
    assert_eq!(get(&server, &format!("acme/ls/{hash}")).await.body, listing.body);

    // As it is stored, for those who ask for that.
    let path = format!("acme/{hash}.ls");
    let compressed = ask(&server, Method::GET, &path, &[("accept-encoding", "gzip, zstd")]).await;
    assert_eq!((compressed.header("content-encoding"), compressed.header("vary")), ("zstd", "accept-encoding"));
    assert_eq!(zstd::decode_all(compressed.body.as_slice()).unwrap(), listing.body);
    for other in ["gzip, deflate, br", "identity", "zstd;q=0, gzip"] {
        assert_eq!(ask(&server, Method::GET, &path, &[("accept-encoding", other)]).await.body, listing.body, "{other}");
    }
    for encoding in ["identity", "zstd"] {
        let head = ask(&server, Method::HEAD, &path, &[("accept-encoding", encoding)]).await;
        assert_eq!((head.status, head.header("content-type")), (StatusCode::OK, "application/json"));
    }
}

async fn what_is_unknown_is_a_404(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    cache(&server, owner, "other", true).await;
    let hello = publish_hello(&server, id).await;

    let (hash, _) = HELLO.split_once('-').unwrap();
    let nar = hello.upload.nar.nar_hash.to_nix32();
    for path in [
        "nobody/nix-cache-info".to_owned(),
        "No-Name/nix-cache-info".to_owned(),
        "acme".to_owned(),
        "acme/nothing".to_owned(),
        "acme/nar/x.nar.zst".to_owned(),
        "acme/x.narinfo".to_owned(),
        "acme/log/x".to_owned(),
        "acme/2vmnnlg2n5iiwmvhg8957fprn2bw0159.narinfo".to_owned(),
        // Another cache's.
        format!("other/{hash}.narinfo"),
        format!("other/{hash}.ls"),
        format!("other/nar/{nar}.nar.zst"),
    ] {
        let reply = get(&server, &path).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(ask(&server, Method::HEAD, &path, &[]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let text = get(&server, "acme/2vmnnlg2n5iiwmvhg8957fprn2bw0159.narinfo").await;
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    let json = get(&server, "acme/2vmnnlg2n5iiwmvhg8957fprn2bw0159.narinfo?json").await;
    assert_eq!((json.status, &json.json()["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));

    let narinfo = format!("acme/{hash}.narinfo");
    assert_eq!(get(&server, &narinfo).await.status, StatusCode::OK);
    let caller = gradient_auth::Caller::Anonymous;
    let acme = server.engine.find_cache(&caller, "acme".parse().unwrap()).await.unwrap().unwrap().cache;
    let inactive = CacheChanges { active: Some(false), ..CacheChanges::default() };
    server.engine.change_cache(&acme, inactive).await.unwrap();
    assert_eq!(get(&server, &narinfo).await.status, StatusCode::NOT_FOUND);
}
