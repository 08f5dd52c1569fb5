//! Real Nix takes paths from the cache.

use std::{fs, path::Path, process::Command};

use gradient_engine::NewPin;
use gradient_test_support::nix::{Installation, Store, installations};

use super::{
    cache,
    private::key,
    published::{APP, HELLO, publish_app, publish_hello},
    user,
};
use crate::server::Server;

gradient_test_support::both_databases!(nix_substitutes_what_is_signed, nix_reads_a_private_cache_with_a_key);

/// A client's store that takes only what `public_key` has signed.
pub(super) fn client(server: &Server, cache: &str, public_key: &str, further: &str) -> Store {
    let url = format!("{}/cache/{cache}", server.url);
    let settings = format!(
        "substituters = {url}\ntrusted-public-keys = {public_key}\nrequire-sigs = true\nmax-jobs = 0\nfallback = false\n{further}\n"
    );
    Store::new(&settings).unwrap()
}

/// Runs Nix beside the server; whether it succeeded, and what it said.
pub(super) async fn run(mut command: Command) -> (bool, String) {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(super) async fn realise(nix: &Installation, store: &Store) -> (bool, String) {
    let mut command = store.command(nix, "nix-store");
    command.args(["--realise", &format!("/nix/store/{APP}")]);
    run(command).await
}

pub(super) fn contents(store: &Store, path: &str) -> String {
    fs::read_to_string(store.root().join("nix/store").join(path)).unwrap()
}

pub(super) async fn public_key(server: &Server, name: &str) -> String {
    let found = server.engine.find_cache(&gradient_auth::Caller::Anonymous, name.parse().unwrap()).await.unwrap();
    found.unwrap().public_key.to_string()
}

async fn nix_substitutes_what_is_signed(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    cache(&server, owner, "other", true).await;
    publish_hello(&server, id).await;
    publish_app(&server, id).await;
    let (good, wrong) = (public_key(&server, "acme").await, public_key(&server, "other").await);

    for nix in installations().unwrap() {
        let store = client(&server, "acme", &good, "");
        let (is_done, said) = realise(&nix, &store).await;
        assert!(is_done, "{said}");
        assert_eq!(contents(&store, HELLO), "hello\n");
        assert_eq!(
            contents(&store, &Path::new(APP).join("app").display().to_string()),
            format!("#!/bin/sh\ncat /nix/store/{HELLO}\n")
        );

        let store = client(&server, "acme", &wrong, "");
        let (is_done, said) = realise(&nix, &store).await;
        assert!(!is_done, "taken without a signature: {said}");
    }
}

async fn nix_reads_a_private_cache_with_a_key(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "secret", false).await;
    publish_hello(&server, id).await;
    publish_app(&server, id).await;
    let (public_key, key) = (public_key(&server, "secret").await, key(&server, owner, &["readStore"], NewPin::Cache(id)).await);

    for nix in installations().unwrap() {
        let netrc = tempfile::NamedTempFile::new().unwrap();
        let further = format!("netrc-file = {}", netrc.path().display());
        let (is_done, said) = realise(&nix, &client(&server, "secret", &public_key, &further)).await;
        assert!(!is_done, "taken without a key: {said}");

        fs::write(netrc.path(), format!("machine 127.0.0.1 login anybody password {key}\n")).unwrap();
        let store = client(&server, "secret", &public_key, &further);
        let (is_done, said) = realise(&nix, &store).await;
        assert!(is_done, "{said}");
        assert_eq!(contents(&store, HELLO), "hello\n");
    }
}
