//! What a cache does not have itself, its upstreams may have.

pub(super) mod elsewhere;

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream::FuturesUnordered};
use gradient_auth::Caller;
use gradient_domain::CacheId;
use gradient_engine::{CacheChanges, FoundCache, NewPin, UpstreamPlace};
use gradient_test_support::nix::installations;
use reqwest::StatusCode;

use self::elsewhere::{Behaviour, Elsewhere};
use super::{
    cache,
    private::key,
    published::{APP, HELLO, publish_app, publish_hello},
    substitution::{client, contents, public_key, realise, run},
    user,
};
use crate::server::Server;

gradient_test_support::both_databases!(
    nix_substitutes_from_upstreams,
    a_cache_of_this_server_is_looked_into,
    only_what_is_signed_counts,
    an_answer_is_remembered,
    who_does_not_answer_is_let_alone,
    who_does_not_answer_delays_its_own_cache_only,
    caches_that_look_into_each_other_ask_once,
);

/// A server that is somewhere else: it has a database of its own.
struct Other {
    server: Server,
    cache: CacheId,
    _database: tempfile::TempDir,
}

impl Other {
    async fn start() -> Self {
        let database = tempfile::tempdir().unwrap();
        let url = gradient_storage::DatabaseUrl::sqlite(database.path().join("other.db"));
        let server = Server::with_local_network(&url.to_string()).await;
        let owner = user(&server, "olga").await;
        let cache = cache(&server, owner, "other", true).await;
        Self { server, cache, _database: database }
    }
}

/// Makes a cache look into the one at a URL.
pub(super) async fn look_into(server: &Server, name: &str, url: &str, key: &str) {
    let place = UpstreamPlace::Elsewhere(url.parse().unwrap(), Box::new(key.parse().unwrap()));
    add(server, name, place).await;
}

pub(super) async fn add(server: &Server, name: &str, place: UpstreamPlace) {
    let found = find(server, name).await;
    server.engine.add_upstream(&found, "Upstream".parse().unwrap(), place).await.unwrap();
}

pub(super) async fn find(server: &Server, name: &str) -> FoundCache {
    server.engine.find_cache(&Caller::Anonymous, name.parse().unwrap()).await.unwrap().unwrap()
}

async fn get(server: &Server, path: &str, password: Option<&str>) -> (StatusCode, String) {
    let request = server.http.get(format!("{}/cache/{path}", server.url));
    let request = match password {
        Some(password) => request.basic_auth("anybody", Some(password)),
        None => request,
    };
    let response = request.send().await.unwrap();
    let status = response.status();
    (status, String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned())
}

fn narinfo(cache: &str, path: &str) -> String {
    format!("{cache}/{}.narinfo", path.split_once('-').unwrap().0)
}

async fn nix_substitutes_from_upstreams(database: &str) {
    let other = Other::start().await;
    publish_hello(&other.server, other.cache).await;
    publish_app(&other.server, other.cache).await;
    let others_key = public_key(&other.server, "other").await;

    let server = Server::with_local_network(database).await;
    let owner = user(&server, "alice").await;
    cache(&server, owner, "acme", true).await;
    look_into(&server, "acme", &format!("{}/cache/other", other.server.url), &others_key).await;
    for (number, nix) in installations().unwrap().into_iter().enumerate() {
        let store = client(&server, "acme", &others_key, "");
        let (is_done, said) = realise(&nix, &store).await;
        assert!(is_done, "{said}");
        assert_eq!(contents(&store, HELLO), "hello\n");
        let (is_done, _) = realise(&nix, &client(&server, "acme", &public_key(&server, "acme").await, "")).await;
        assert!(!is_done, "the cache does not sign for its upstreams");

        // A folder of files as Nix makes it, compressed in another way and signed by another key.
        let folder = tempfile::tempdir().unwrap();
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
        let name = format!("static-{number}");
        cache(&server, owner, &name, true).await;
        look_into(&server, &name, &files.url, key.trim()).await;
        let (_, text) = get(&server, &narinfo(&name, APP), None).await;
        assert!(text.contains(&format!("URL: {}/nar/", files.url)) && text.contains("Compression: xz"), "{text}");
        let (is_done, said) = realise(&nix, &client(&server, &name, key.trim(), "")).await;
        assert!(is_done, "{said}");
    }
}

async fn a_cache_of_this_server_is_looked_into(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    for (name, public) in [("front", true), ("closed-front", false)] {
        cache(&server, owner, name, public).await;
    }
    let behind = cache(&server, owner, "behind", false).await;
    let published = publish_hello(&server, behind).await;
    let nar = format!("nar/{}.nar.zst", published.upload.nar.nar_hash.to_nix32());
    let reader = key(&server, owner, &["readStore"], NewPin::Everywhere).await;
    for front in ["front", "closed-front"] {
        add(&server, front, UpstreamPlace::Cache(find(&server, "behind").await.cache.id)).await;
    }
    let status = async |path: String, password| get(&server, &path, password).await.0.as_u16();
    // Whoever may read the one in front only, does not get what is behind it.
    assert_eq!(status(narinfo("front", HELLO), None).await, 404);
    assert_eq!(status(format!("front/{nar}"), None).await, 404);
    let direct = get(&server, &narinfo("behind", HELLO), Some(&reader)).await;
    assert_eq!(get(&server, &narinfo("closed-front", HELLO), Some(&reader)).await, direct);
    assert_eq!(status(format!("closed-front/{nar}"), Some(&reader)).await, 200);
    let (_, json) = get(&server, &format!("{}?json", narinfo("closed-front", HELLO)), Some(&reader)).await;
    assert!(json.contains(HELLO), "{json}");
    let closed = find(&server, "closed-front").await.cache.id;
    let pinned = key(&server, owner, &["readStore", "viewCache"], NewPin::Cache(closed)).await;
    assert_eq!(status(narinfo("closed-front", HELLO), Some(&pinned)).await, 404, "the key is good for one cache");

    let found = find(&server, "behind").await;
    let changes = CacheChanges { public: Some(true), ..CacheChanges::default() };
    server.engine.change_cache(&found.cache, changes).await.unwrap();
    assert_eq!(get(&server, &narinfo("front", HELLO), None).await, direct);
    assert_eq!(status(format!("front/{nar}"), None).await, 200);
    assert_eq!(status(narinfo("front", APP), None).await, 404);
    let changes = CacheChanges { active: Some(false), ..CacheChanges::default() };
    server.engine.change_cache(&found.cache, changes).await.unwrap();
    assert_eq!(status(narinfo("front", HELLO), None).await, 404, "one that serves nothing is no upstream");
    assert_eq!(status(format!("front/{nar}"), None).await, 404);
}

async fn only_what_is_signed_counts(database: &str) {
    let other = Other::start().await;
    publish_hello(&other.server, other.cache).await;
    let (_, good) = get(&other.server, &narinfo("other", HELLO), None).await;
    let key = public_key(&other.server, "other").await;
    let app = publish_app(&other.server, other.cache).await;
    let (_, of_app) = get(&other.server, &narinfo("other", APP), None).await;

    let server = Server::with_local_network(database).await;
    let owner = user(&server, "alice").await;
    let behaviours = [
        Behaviour::Text(good.replace("NarSize: ", "NarSize: 1")),
        Behaviour::Text(good.replace("Sig: ", "X-Sig: ")),
        Behaviour::Text(good.replace(HELLO, APP)),
        Behaviour::Text(of_app),
        Behaviour::Text(format!("{good}\n{}", "x".repeat(2 << 20))),
        Behaviour::Text("<html>".to_owned()),
        Behaviour::Redirect(format!("{}/cache/{}", other.server.url, narinfo("other", HELLO))),
    ];
    for (number, behaviour) in behaviours.into_iter().enumerate() {
        let name = format!("bad-{number}");
        cache(&server, owner, &name, true).await;
        let bad = Elsewhere::start(behaviour);
        look_into(&server, &name, &bad.url, &key).await;
        assert_eq!(get(&server, &narinfo(&name, HELLO), None).await.0, StatusCode::NOT_FOUND, "{name}");
        assert_eq!(bad.asked(), 1, "{name}");
    }
    cache(&server, owner, "good", true).await;
    let upstream = Elsewhere::start(Behaviour::Text(good.clone()));
    look_into(&server, "good", &upstream.url, &key).await;
    let (status, text) = get(&server, &narinfo("good", HELLO), None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(text, good.replace("URL: ", &format!("URL: {}/", upstream.url)));
    let nar = format!("good/nar/{}.nar.zst", app.upload.nar.nar_hash.to_nix32());
    assert_eq!(get(&server, &nar, None).await.0, StatusCode::NOT_FOUND, "NARs are fetched from where they are");
}

async fn an_answer_is_remembered(database: &str) {
    let other = Other::start().await;
    publish_hello(&other.server, other.cache).await;
    let (_, good) = get(&other.server, &narinfo("other", HELLO), None).await;
    let key = public_key(&other.server, "other").await;
    let server = Server::with_local_network(database).await;
    let owner = user(&server, "alice").await;
    cache(&server, owner, "main", true).await;
    let (has, has_not) = (Elsewhere::start(Behaviour::Text(good)), Elsewhere::start(Behaviour::Nothing));
    for url in [&has.url, &has_not.url] {
        look_into(&server, "main", url, &key).await;
    }
    for _ in 0..3 {
        assert_eq!(get(&server, &narinfo("main", HELLO), None).await.0, StatusCode::OK);
        assert_eq!(get(&server, &narinfo("main", APP), None).await.0, StatusCode::NOT_FOUND);
    }
    // One for each path; of HELLO it may not have been asked when the other had answered.
    assert_eq!(has.asked(), 2);
    assert!((1..=2).contains(&has_not.asked()));
}

async fn who_does_not_answer_is_let_alone(database: &str) {
    let other = Other::start().await;
    publish_hello(&other.server, other.cache).await;
    let key = public_key(&other.server, "other").await;
    let server = Server::with_local_network(database).await;
    let owner = user(&server, "alice").await;
    cache(&server, owner, "main", true).await;
    let (broken, silent) = (Elsewhere::start(Behaviour::Broken), Elsewhere::start(Behaviour::Silent));
    look_into(&server, "main", &format!("{}/cache/other", other.server.url), &key).await;
    for url in [&broken.url, &silent.url] {
        look_into(&server, "main", url, &key).await;
    }
    let begun = Instant::now();
    for number in 0..6 {
        let path = format!("{number:032}-x");
        assert_eq!(get(&server, &narinfo("main", &path), None).await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!((broken.asked(), silent.asked()), (3, 3));
    assert!(begun.elapsed() < Duration::from_secs(15), "three times two seconds, {:?}", begun.elapsed());
    assert_eq!(get(&server, &narinfo("main", HELLO), None).await.0, StatusCode::OK, "the others are asked");
}

async fn who_does_not_answer_delays_its_own_cache_only(database: &str) {
    let other = Other::start().await;
    publish_hello(&other.server, other.cache).await;
    let key = public_key(&other.server, "other").await;
    let server = Server::with_local_network(database).await;
    let owner = user(&server, "alice").await;
    for name in ["quiet", "main"] {
        cache(&server, owner, name, true).await;
    }
    look_into(&server, "main", &format!("{}/cache/other", other.server.url), &key).await;
    let silent: Vec<Elsewhere> = (0..16).map(|_| Elsewhere::start(Behaviour::Silent)).collect();
    for upstream in &silent {
        look_into(&server, "quiet", &upstream.url, &key).await;
    }
    // Each of these wants to ask sixteen, so that not all can be asked.
    let paths: Vec<String> = (0..5).map(|number| narinfo("quiet", &format!("{number:032}-x"))).collect();
    let mut asked: FuturesUnordered<_> = paths.iter().map(|path| get(&server, path, None)).collect();
    let of_quiet = async {
        let mut statuses = Vec::new();
        while let Some((status, _)) = asked.next().await {
            statuses.push(status.as_u16());
        }
        statuses
    };
    let of_main = async {
        until(async || silent.iter().map(Elsewhere::asked).sum::<usize>() >= 8).await;
        get(&server, &narinfo("main", HELLO), None).await.0
    };
    let (of_quiet, of_main) = tokio::join!(of_quiet, of_main);
    assert_eq!(of_main, StatusCode::OK);
    // The first ones may have had their turn.
    let busy = of_quiet.iter().filter(|status| **status == 503).count();
    assert!(busy >= 3, "what could not be asked is not there for all that Nix knows: {of_quiet:?}");
}

pub(super) async fn until(condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !condition().await {
        assert!(Instant::now() < end, "this takes too long");
        ticks.tick().await;
    }
}

async fn caches_that_look_into_each_other_ask_once(database: &str) {
    let other = Other::start().await;
    let server = Server::with_local_network(database).await;
    let owner = user(&server, "alice").await;
    cache(&server, owner, "main", true).await;
    let (here, there) = (format!("{}/cache/main", server.url), format!("{}/cache/other", other.server.url));
    look_into(&server, "main", &there, &public_key(&other.server, "other").await).await;
    look_into(&other.server, "other", &here, &public_key(&server, "main").await).await;
    let begun = Instant::now();
    assert_eq!(get(&server, &narinfo("main", HELLO), None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(get(&other.server, &narinfo("other", APP), None).await.0, StatusCode::NOT_FOUND);
    assert!(begun.elapsed() < Duration::from_secs(2), "nobody has waited for the end of the budget");
}
