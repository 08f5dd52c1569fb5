//! What somebody fetches that an upstream has becomes the cache's own, when it is set so.

mod hostile;
mod origin;

use futures_util::{StreamExt, future::join_all};
use gradient_domain::{CacheId, Moment};
use gradient_engine::{CacheChanges, NewPin, UPSTREAM_HEADER, UpstreamPlace};
use gradient_nix::StorePath;
use gradient_test_support::nix::installations;
use reqwest::{Method, Response, StatusCode};

use self::origin::{Manner, Origin};
use super::{
    cache,
    private::key,
    published::{APP, HELLO, publish_app, publish_hello},
    substitution::{client, contents, public_key, realise, run},
    uploading::world::{Nar, nar_of, path_of},
    upstreams::{
        add,
        elsewhere::{Behaviour, Elsewhere},
        find, look_into, until,
    },
    user,
};
use crate::server::Server;

gradient_test_support::both_databases!(
    nix_fetches_through_a_cache,
    what_was_fetched_is_the_caches_own,
    many_who_ask_make_one_fetch,
    only_what_everybody_may_read_is_taken_from_a_cache_here,
    a_second_path_with_the_same_content_is_kept_too,
    a_private_cache_pulls_for_those_who_may_read_it,
    what_was_pulled_is_counted_and_collected,
    without_the_setting_nothing_is_kept,
);

struct World {
    server: Server,
    id: CacheId,
    key: String,
    origin: Origin,
}

impl World {
    /// A public cache that pulls from one elsewhere.
    async fn start(database: &str) -> Self {
        let server = Server::with_local_network(database).await;
        let owner = user(&server, "alice").await;
        let id = cache(&server, owner, "front", true).await;
        let key = key(&server, owner, &["readStore", "viewCache"], NewPin::Everywhere).await;
        let origin = Origin::start("origin");
        look_into(&server, "front", &origin.url, &origin.public_key).await;
        pulls(&server, "front").await;
        Self { server, id, key, origin }
    }

    async fn request(&self, method: Method, file: &str) -> Response {
        self.server.http.request(method, format!("{}/cache/front/{file}", self.server.url)).send().await.unwrap()
    }

    async fn get(&self, file: &str) -> (StatusCode, String) {
        let response = self.request(Method::GET, file).await;
        (response.status(), String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned())
    }

    /// The `URL` of a path that is served.
    async fn url_of(&self, path: &StorePath) -> String {
        let (status, text) = self.get(&narinfo(path)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        url_in(&text)
    }

    /// What comes for a NAR, to its end; whether it came whole.
    async fn fetch(&self, url: &str) -> (StatusCode, Option<Vec<u8>>) {
        let response = self.request(Method::GET, url).await;
        (response.status(), response.bytes().await.ok().map(|bytes| bytes.to_vec()))
    }

    /// Whether the cache itself has a path.
    async fn has(&self, path: &StorePath) -> bool {
        has(&self.server, "front", path).await
    }

    async fn until_it_has(&self, path: &StorePath) {
        until(async || self.has(path).await).await;
    }

    fn stored(&self) -> usize {
        let staging = self.server.blobs.staging().path();
        let files = |directory: &std::path::Path| std::fs::read_dir(directory).map_or(0, Iterator::count);
        assert_eq!(files(staging), 0, "nothing is left of what was verified");
        walk(&staging.with_file_name("nar"))
    }
}

fn walk(directory: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

async fn pulls(server: &Server, name: &str) {
    let changes = CacheChanges { pull_through: Some(true), ..CacheChanges::default() };
    server.engine.change_cache(&find(server, name).await.cache, changes).await.unwrap();
}

async fn has(server: &Server, cache: &str, path: &StorePath) -> bool {
    let request = server.http.get(format!("{}/cache/{cache}/{}", server.url, narinfo(path)));
    request.header(UPSTREAM_HEADER, "1").send().await.unwrap().status() == StatusCode::OK
}

fn narinfo(path: &StorePath) -> String {
    format!("{}.narinfo", path.hash())
}

fn url_in(narinfo: &str) -> String {
    narinfo.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap().to_owned()
}

fn plain(compressed: &[u8]) -> Vec<u8> {
    zstd::decode_all(compressed).unwrap()
}

/// The same NAR in another file.
fn in_two_frames(nar: &[u8]) -> Vec<u8> {
    let (first, second) = nar.split_at(nar.len() / 2);
    [zstd::encode_all(first, 1).unwrap(), zstd::encode_all(second, 1).unwrap()].concat()
}

/// Several MiB that cannot be compressed.
fn large() -> Nar {
    let mut contents = vec![0; 4 << 20];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut contents);
    nar_of(&contents)
}

async fn nix_fetches_through_a_cache(database: &str) {
    let elsewhere = tempfile::tempdir().unwrap();
    let url = gradient_storage::DatabaseUrl::sqlite(elsewhere.path().join("other.db"));
    let other = Server::with_local_network(&url.to_string()).await;
    let olga = user(&other, "olga").await;
    let id = cache(&other, olga, "other", true).await;
    publish_hello(&other, id).await;
    publish_app(&other, id).await;
    let others_key = public_key(&other, "other").await;
    let server = Server::with_local_network(database).await;
    let owner = user(&server, "alice").await;
    for (number, nix) in installations().unwrap().into_iter().enumerate() {
        // A folder of files as Nix makes it, compressed in another way and signed by another key.
        let folder = tempfile::tempdir().unwrap();
        let store = client(&other, "other", &others_key, "");
        let (is_done, said) = realise(&nix, &store).await;
        assert!(is_done, "{said}");
        let mut generate = store.command(&nix, "nix-store");
        let (secret, public) = (store.home().join("secret"), store.home().join("public"));
        generate.args(["--generate-binary-cache-key", "static-1"]).args([&secret, &public]);
        assert!(run(generate).await.0);
        let mut copy = store.command(&nix, "nix");
        let to = format!("file://{}?compression=xz&secret-key={}", folder.path().display(), secret.display());
        copy.args(["copy", "--to", &to, &format!("/nix/store/{APP}")]);
        let (is_done, said) = run(copy).await;
        assert!(is_done, "{said}");
        let key = std::fs::read_to_string(&public).unwrap();
        let files = Elsewhere::start(Behaviour::Files(folder.path().to_owned()));
        let name = format!("front-{number}");
        cache(&server, owner, &name, true).await;
        look_into(&server, &name, &files.url, key.trim()).await;
        pulls(&server, &name).await;

        let store = client(&server, &name, key.trim(), "");
        let (is_done, said) = realise(&nix, &store).await;
        assert!(is_done, "{said}");
        assert_eq!(contents(&store, HELLO), "hello\n");
        for path in [HELLO, APP] {
            until(async || has(&server, &name, &path.parse().unwrap()).await).await;
        }
        // Without the upstream, and by the cache's own key.
        drop(folder);
        let own = public_key(&server, &name).await;
        for trusted in [own.as_str(), key.trim()] {
            let store = client(&server, &name, trusted, "");
            let (is_done, said) = realise(&nix, &store).await;
            assert!(is_done, "{said}");
            assert_eq!(contents(&store, HELLO), "hello\n");
        }
    }
}

async fn what_was_fetched_is_the_caches_own(database: &str) {
    let world = World::start(database).await;
    let nar = nar_of(b"hello\n");
    let path = world.origin.offer("hello", &nar, &[]);
    let (_, text) = world.get(&narinfo(&path)).await;
    let url = format!("nar/{}.nar.zst?hash={}", nar.hash.to_nix32(), path.hash());
    assert_eq!(url_in(&text), url);
    assert!(text.contains("\nSig: origin-1:") && !text.contains("FileHash") && text.matches("Sig: ").count() == 1, "{text}");
    let (_, json) = world.get(&format!("{}?json", narinfo(&path))).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["URL"], &json["FileSize"]), (&url.as_str().into(), &serde_json::Value::Null));
    // To look is not to fetch, and the hash of a NAR gives nobody anything.
    assert_eq!(world.request(Method::HEAD, &url).await.status(), StatusCode::OK);
    let bare = format!("nar/{}.nar.zst", nar.hash.to_nix32());
    for nothing in [bare.clone(), format!("{bare}?hash={}", path_of("other").hash()), format!("{bare}?hash=x"), nar.url.clone()] {
        assert_eq!(world.get(&nothing).await.0, StatusCode::NOT_FOUND, "{nothing}");
    }
    assert_eq!((world.origin.sent(), world.has(&path).await), (0, false));

    let response = world.request(Method::GET, &url).await;
    assert_eq!(response.content_length(), Some(nar.sent.len() as u64), "a small one is whole before it is sent");
    assert_eq!(response.bytes().await.unwrap(), nar.sent);
    world.until_it_has(&path).await;
    world.origin.behave(Manner::Dead);
    let (_, text) = world.get(&narinfo(&path)).await;
    assert_eq!(url_in(&text), bare);
    assert!(text.contains("\nSig: 127.0.0.1-front:") && text.contains("\nSig: origin-1:"), "{text}");
    // Clients remember for weeks what they were told first.
    for url in [&bare, &url] {
        assert_eq!(world.fetch(url).await, (StatusCode::OK, Some(nar.sent.clone())));
    }
    assert_eq!((world.origin.sent(), world.stored()), (1, 1));
}

async fn many_who_ask_make_one_fetch(database: &str) {
    let world = World::start(database).await;
    let nar = large();
    let path = world.origin.offer("large", &nar, &[]);
    let url = world.url_of(&path).await;
    world.origin.behave(Manner::Gated(3 << 20));
    let mut first = world.request(Method::GET, &url).await;
    let mut came = Vec::new();
    while came.len() < 2 << 20 {
        came.extend_from_slice(&first.chunk().await.unwrap().unwrap());
    }
    assert!(!world.has(&path).await, "nobody knows yet whether it is good");
    let others = async {
        let begun = join_all((0..5).map(|_| world.request(Method::GET, &url))).await;
        world.origin.open_the_gate();
        join_all(begun.into_iter().map(Response::bytes)).await
    };
    for other in others.await {
        assert_eq!(other.unwrap(), nar.sent);
    }
    while let Some(chunk) = first.chunk().await.unwrap() {
        came.extend_from_slice(&chunk);
    }
    assert_eq!(came, nar.sent);
    world.until_it_has(&path).await;
    assert_eq!((world.origin.sent(), world.stored()), (1, 1));

    // Who goes away in the middle leaves the fetch to others.
    let nar = large();
    let path = world.origin.offer("abandoned", &nar, &[]);
    let url = world.url_of(&path).await;
    world.origin.behave(Manner::Good);
    let mut stream = world.request(Method::GET, &url).await.bytes_stream();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    world.until_it_has(&path).await;
}

async fn only_what_everybody_may_read_is_taken_from_a_cache_here(database: &str) {
    let world = World::start(database).await;
    let server = &world.server;
    let owner = user(server, "olga").await;
    let (open, closed) = (cache(server, owner, "open", true).await, cache(server, owner, "closed", false).await);
    let (hello, app): (StorePath, StorePath) = (HELLO.parse().unwrap(), APP.parse().unwrap());
    publish_hello(server, open).await;
    publish_app(server, open).await;
    let secret: StorePath = path_of("secret");
    super::published::publish(server, closed, &secret.to_string(), &nar_of(b"secret").bytes, &[]).await;
    let reader = key(server, owner, &["viewCache", "readStore"], NewPin::Everywhere).await;
    for id in [open, closed] {
        add(server, "front", UpstreamPlace::Cache(id)).await;
    }
    let stored = world.stored();
    assert_eq!(world.get(&narinfo(&secret)).await.0, StatusCode::NOT_FOUND, "a public cache is read as by anybody");
    for path in [&hello, &app] {
        let url = world.url_of(path).await;
        assert!(url.ends_with(&format!("?hash={}", path.hash())), "{url}");
        assert_eq!(world.fetch(&url).await.0, StatusCode::OK);
        world.until_it_has(path).await;
    }
    assert_eq!(world.stored(), stored, "nothing is stored twice");
    let (_, text) = world.get(&narinfo(&app)).await;
    assert!(text.contains("Sig: 127.0.0.1-front:") && text.contains("Sig: 127.0.0.1-open:"), "{text}");

    // Whoever may read both of two private ones reads through, and takes nothing along for the others.
    cache(server, owner, "private-front", false).await;
    let caller = server.engine.caller(&reader).await.unwrap();
    let found = server.engine.find_cache(&caller, "private-front".parse().unwrap()).await.unwrap().unwrap();
    server.engine.add_upstream(&found, "x".parse().unwrap(), UpstreamPlace::Cache(closed)).await.unwrap();
    let changes = CacheChanges { pull_through: Some(true), ..CacheChanges::default() };
    server.engine.change_cache(&found.cache, changes).await.unwrap();
    let read = async |file: &str| {
        let request = server.http.get(format!("{}/cache/private-front/{file}", server.url)).basic_auth("x", Some(&reader));
        let response = request.send().await.unwrap();
        (response.status(), String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned())
    };
    let (status, text) = read(&narinfo(&secret)).await;
    assert_eq!(status, StatusCode::OK);
    let url = url_in(&text);
    assert!(!url.contains('?'), "{url}");
    assert_eq!(read(&format!("{url}?hash={}", secret.hash())).await.0, StatusCode::OK);
    until(async || server.engine.pulling() == 0).await;
    let request = server.http.get(format!("{}/cache/private-front/{}", server.url, narinfo(&secret)));
    let request = request.basic_auth("x", Some(&reader)).header(UPSTREAM_HEADER, "1");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

async fn a_second_path_with_the_same_content_is_kept_too(database: &str) {
    let world = World::start(database).await;
    let nar = nar_of(b"the same\n");
    let (first, second) = (world.origin.offer("first", &nar, &[]), world.origin.offer("second", &nar, &[]));
    for path in [&first, &second] {
        let url = world.url_of(path).await;
        assert_eq!(world.fetch(&url).await.0, StatusCode::OK);
        world.until_it_has(path).await;
    }
    assert_eq!((world.origin.sent(), world.stored()), (1, 1));
}

async fn a_private_cache_pulls_for_those_who_may_read_it(database: &str) {
    let world = World::start(database).await;
    let found = find(&world.server, "front").await;
    let changes = CacheChanges { public: Some(false), ..CacheChanges::default() };
    world.server.engine.change_cache(&found.cache, changes).await.unwrap();
    let nar = nar_of(b"hello\n");
    let path = world.origin.offer("hello", &nar, &[]);
    let url = format!("nar/{}.nar.zst?hash={}", nar.hash.to_nix32(), path.hash());
    assert_eq!(world.get(&narinfo(&path)).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(world.get(&url).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(world.origin.sent(), 0);
    let request = world.server.http.get(format!("{}/cache/front/{url}", world.server.url));
    let response = request.basic_auth("anybody", Some(&world.key)).send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "private, max-age=31536000, immutable");
    assert_eq!(response.bytes().await.unwrap(), nar.sent);
}

async fn what_was_pulled_is_counted_and_collected(database: &str) {
    let world = World::start(database).await;
    let base = path_of("base");
    let base_nar = nar_of(b"base");
    world.origin.offer("base", &base_nar, &[]);
    let nar = nar_of(format!("/nix/store/{base}").as_bytes());
    let app = world.origin.offer("app", &nar, &[&base]);
    for path in [&base, &app] {
        let url = world.url_of(path).await;
        let (_, sent) = world.fetch(&url).await;
        assert_eq!(plain(&sent.unwrap()), if *path == base { base_nar.bytes.clone() } else { nar.bytes.clone() });
        world.until_it_has(path).await;
    }
    let statistics = world.server.engine.cache_statistics(world.id).await.unwrap();
    let both = (nar.sent.len() + base_nar.sent.len()) as u64;
    assert_eq!((statistics.paths, statistics.bytes_stored, statistics.bytes_served), (2, both, both));
    assert!(statistics.misses >= 2 && statistics.hits >= 2, "{statistics:?}");

    let found = find(&world.server, "front").await;
    let changes = CacheChanges { max_bytes: Some(Some(0)), ..CacheChanges::default() };
    world.server.engine.change_cache(&found.cache, changes).await.unwrap();
    let collected = world.server.engine.collect_cache(world.id, false, Moment::now()).await.unwrap();
    assert_eq!((collected.paths, collected.kept_paths), (2, 0));
    assert!(!world.has(&app).await);
    // It can still be had, and then it is kept again.
    let url = world.url_of(&app).await;
    assert_eq!(plain(&world.fetch(&url).await.1.unwrap()), nar.bytes);
    world.until_it_has(&app).await;
}

async fn without_the_setting_nothing_is_kept(database: &str) {
    let world = World::start(database).await;
    let found = find(&world.server, "front").await;
    let changes = CacheChanges { pull_through: Some(false), ..CacheChanges::default() };
    world.server.engine.change_cache(&found.cache, changes).await.unwrap();
    let nar = nar_of(b"hello\n");
    let path = world.origin.offer("hello", &nar, &[]);
    assert_eq!(world.url_of(&path).await, format!("{}/{}", world.origin.url, nar.url));
    let url = format!("nar/{}.nar.zst?hash={}", nar.hash.to_nix32(), path.hash());
    for method in [Method::HEAD, Method::GET] {
        assert_eq!(world.request(method, &url).await.status(), StatusCode::NOT_FOUND);
    }
    assert_eq!((world.origin.sent(), world.stored()), (0, 0));
}
