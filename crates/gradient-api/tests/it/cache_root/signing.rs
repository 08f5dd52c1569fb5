//! Real Nix takes what is signed with any of a cache's keys.

use gradient_auth::Caller;
use gradient_engine::FoundCache;
use gradient_test_support::nix::installations;

use super::{
    cache,
    published::{HELLO, publish_app, publish_hello},
    substitution::{client, contents, public_key, realise},
    user,
};
use crate::server::Server;

gradient_test_support::both_databases!(nix_trusts_the_old_or_the_new_key);

async fn found(server: &Server, name: &str) -> FoundCache {
    server.engine.find_cache(&Caller::Anonymous, name.parse().unwrap()).await.unwrap().unwrap()
}

async fn nix_trusts_the_old_or_the_new_key(database: &str) {
    let server = Server::start(database).await;
    let owner = user(&server, "alice").await;
    let id = cache(&server, owner, "acme", true).await;
    publish_hello(&server, id).await;
    publish_app(&server, id).await;
    let old = public_key(&server, "acme").await;
    let acme = found(&server, "acme").await.cache;
    let first = server.engine.cache_keys(id).await.unwrap()[0].key.id;
    let takes = async |key: &str| {
        let mut taken = Vec::new();
        for nix in installations().unwrap() {
            let store = client(&server, "acme", key, "");
            let (is_done, said) = realise(&nix, &store).await;
            assert!(!is_done || contents(&store, HELLO) == "hello\n", "{said}");
            taken.push(is_done);
        }
        assert!(taken.iter().all(|is_done| *is_done == taken[0]), "the versions of Nix differ: {taken:?}");
        taken[0]
    };
    assert!(takes(&old).await);

    server.engine.add_cache_key(&acme, None).await.unwrap();
    let new = public_key(&server, "acme").await;
    assert!(new != old && takes(&old).await && takes(&new).await);

    server.engine.retire_cache_key(&acme, first, false).await.unwrap();
    assert!(!takes(&old).await && takes(&new).await);
}
