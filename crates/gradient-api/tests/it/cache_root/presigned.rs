//! NARs that clients fetch out of a bucket themselves.

use gradient_blobs::S3Settings;
use gradient_engine::NewPin;
use gradient_test_support::deployment::{S3Server, S3ServerSettings};
use reqwest::{Client, Method, StatusCode, header::HeaderMap, redirect::Policy};

use super::{cache, private::key, published::publish_hello, user};
use crate::server::Server;

gradient_test_support::both_databases!(
    a_nar_is_fetched_from_the_bucket,
    only_who_may_read_a_private_cache_is_sent_to_the_bucket,
    without_the_setting_the_server_sends_it_itself
);

async fn with_bucket(database: &str, presign: bool) -> Option<(Server, S3Server, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let bucket = S3Server::start(folder.path(), S3ServerSettings::default()).unwrap()?;
    let settings = S3Settings {
        bucket: S3Server::BUCKET.into(),
        region: "us-east-1".into(),
        endpoint: S3Settings::endpoint(&bucket.endpoint()),
        prefix: String::new(),
        access_key_id: S3Server::ACCESS_KEY.into(),
        secret_access_key: S3Server::SECRET_KEY.into(),
        presign,
    };
    let mut server = Server::with_bucket(database, settings).await;
    server.http = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    Some((server, bucket, folder))
}

/// Asks as a client that follows: status, headers and body of the first answer and of the last.
async fn ask(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
    let request = server.http.request(method, format!("{}/cache/{path}", server.url));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    (response.status(), response.headers().clone(), response.bytes().await.unwrap().into())
}

async fn a_nar_is_fetched_from_the_bucket(database: &str) {
    let Some((server, _bucket, _folder)) = with_bucket(database, true).await else { return };
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    let hello = publish_hello(&server, id).await;
    let path = format!("acme/nar/{}.nar.zst", hello.upload.nar.nar_hash.to_nix32());

    let (status, headers, body) = ask(&server, Method::GET, &path, &[]).await;
    assert_eq!((status, body.len()), (StatusCode::TEMPORARY_REDIRECT, 0));
    assert_eq!(headers["cache-control"], "private, no-store");
    let url = headers["location"].to_str().unwrap();
    assert!(url.contains("X-Amz-Expires=300&") && url.contains("X-Amz-Signature="), "{url}");
    let whole = server.http.get(url).send().await.unwrap();
    assert_eq!(whole.bytes().await.unwrap(), hello.compressed);
    let part = server.http.get(url).header("range", "bytes=3-").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), hello.compressed[3..]);

    let (status, headers, _) = ask(&server, Method::GET, &path, &[("range", "bytes=3-")]).await;
    assert_eq!(status, StatusCode::TEMPORARY_REDIRECT);
    assert!(headers.contains_key("location"));
    let (status, _, _) = ask(&server, Method::GET, &path, &[("range", "bytes=1000000-")]).await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    let size = hello.compressed.len().to_string();
    let (status, headers, _) = ask(&server, Method::HEAD, &path, &[]).await;
    assert_eq!((status, headers["content-length"].to_str().unwrap()), (StatusCode::OK, &*size));
    let tag = headers["etag"].to_str().unwrap().to_owned();
    let (status, _, _) = ask(&server, Method::GET, &path, &[("if-none-match", &tag)]).await;
    assert_eq!(status, StatusCode::NOT_MODIFIED);
    // The bucket's server has tags of its own.
    let (status, _, body) = ask(&server, Method::GET, &path, &[("range", "bytes=3-"), ("if-range", &tag)]).await;
    assert_eq!((status, &*body), (StatusCode::PARTIAL_CONTENT, &hello.compressed[3..]));
}

async fn only_who_may_read_a_private_cache_is_sent_to_the_bucket(database: &str) {
    let Some((server, _bucket, _folder)) = with_bucket(database, true).await else { return };
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "secret", false).await;
    let hello = publish_hello(&server, id).await;
    let url = format!("{}/cache/secret/nar/{}.nar.zst", server.url, hello.upload.nar.nar_hash.to_nix32());

    let stranger = server.http.get(&url).send().await.unwrap();
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    assert!(!stranger.headers().contains_key("location"));
    let reader = key(&server, owner, &["readStore"], NewPin::Everywhere).await;
    let reader = server.http.get(&url).basic_auth("anybody", Some(reader)).send().await.unwrap();
    assert_eq!(reader.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(reader.headers()["cache-control"], "private, no-store");
    let elsewhere = reader.headers()["location"].to_str().unwrap();
    assert_eq!(server.http.get(elsewhere).send().await.unwrap().bytes().await.unwrap(), hello.compressed);
}

async fn without_the_setting_the_server_sends_it_itself(database: &str) {
    let Some((server, _bucket, _folder)) = with_bucket(database, false).await else { return };
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    let hello = publish_hello(&server, id).await;
    let path = format!("acme/nar/{}.nar.zst", hello.upload.nar.nar_hash.to_nix32());
    let (status, headers, body) = ask(&server, Method::GET, &path, &[]).await;
    assert_eq!((status, &body), (StatusCode::OK, &hello.compressed));
    assert_eq!(headers["content-length"], hello.compressed.len().to_string());
    let (status, _, body) = ask(&server, Method::GET, &path, &[("range", "bytes=3-5")]).await;
    assert_eq!((status, &*body), (StatusCode::PARTIAL_CONTENT, &hello.compressed[3..6]));
}
