//! How long it takes to find out what a large cache does not keep.

use std::time::{Duration, Instant};

use gradient_domain::Moment;
use gradient_engine::EngineSettings;
use gradient_nix::NarHash;
use gradient_storage::{
    Conn,
    cache_paths::{self, NewCachePath},
    caches::{self, CacheChanges},
    nars::{self, NewNar},
};

use crate::{
    retention::cache,
    world::{World, store_path},
};

mod the_mark_of_a_large_cache_is_fast {
    #[test]
    #[ignore = "prints how long it takes"]
    fn sqlite() {
        gradient_test_support::on_sqlite(async |url: &str| super::measure(url).await);
    }

    #[test]
    #[ignore = "prints how long it takes"]
    fn postgres() {
        gradient_test_support::on_postgres(async |url: &str| super::measure(url).await);
    }
}

/// Run by `cargo xtask bench collect`.
async fn measure(url: &str) {
    const PATHS: usize = 50_000;
    let world = World::new(url).await;
    let now = Moment::now();
    let row = cache(now);
    let id = row.id;
    let nar = |number: usize| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        NarHash(hash)
    };
    let insert = async move |conn: &mut Conn| {
        caches::insert(conn, &row).await?;
        for number in 0..PATHS {
            let (nar_hash, file_hash) = (nar(number), nar(number));
            nars::claim(conn, NewNar { nar_hash, nar_size: 100, file_hash, file_size: 10, created_at: now }).await?;
        }
        let new = (0..PATHS).map(|number| NewCachePath {
            path: store_path(number, "package-with-a-usual-name-1.0"),
            nar_hash: nar(number),
            references: (1..9).filter_map(|step| number.checked_sub(step * step)).map(|n| store_path(n, "package-1.0")).collect(),
            deriver: None,
            content_address: None,
            foreign_signatures: vec![],
        });
        cache_paths::publish(conn, id, new.collect(), now).await?;
        caches::set(conn, id, &CacheChanges { retention_days: Some(Some(30)), ..CacheChanges::default() }).await
    };
    world.storage.transaction(insert).await.unwrap();
    let engine = world.start(EngineSettings::default()).await;
    for _ in 0..3 {
        let began = Instant::now();
        let collection = engine.begin_collection(id, now.plus(Duration::from_hours(24 * 60))).await.unwrap();
        let took = began.elapsed();
        assert_eq!(collection.found().await.unwrap().paths, PATHS as u64);
        println!("{PATHS} paths: read and marked in {took:?}");
    }
}
