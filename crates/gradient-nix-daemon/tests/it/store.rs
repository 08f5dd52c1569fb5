//! What is in a store, and bringing paths into it and out of it.

use std::io::Cursor;

use gradient_nix_daemon::{Daemon, Error};

use crate::{World, with_each_nix};

#[tokio::test]
async fn paths_are_found_and_described() {
    with_each_nix(async |world| {
        let path = world.add("greeting.txt", "hello\n");
        let absent = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello-2.12".parse().unwrap();
        let mut connection = world.connect().await;
        assert!(connection.is_valid_path(&path).await.unwrap());
        assert!(!connection.is_valid_path(&absent).await.unwrap());
        let valid = connection.query_valid_paths([&absent, &path].into_iter()).await.unwrap();
        assert_eq!(valid, std::slice::from_ref(&path));
        assert_eq!(connection.query_path_info(&absent).await.unwrap(), None);
        let info = connection.query_path_info(&path).await.unwrap().unwrap();
        assert_eq!(info.nar_size, 120);
        assert!(info.references.is_empty() && info.deriver.is_none());
        assert!(info.content_address.unwrap().starts_with("fixed:r:sha256:"));
        assert!(matches!(connection.peer().trusted, None | Some(true)));
    })
    .await;
}

#[tokio::test]
async fn a_path_travels_from_store_to_store() {
    with_each_nix(async |world| {
        let path = world.add("greeting.txt", "hello\n");
        let mut from = world.connect().await;
        let info = from.query_path_info(&path).await.unwrap().unwrap();
        let mut nar = Vec::new();
        from.nar_from_path(&path, info.nar_size, &mut nar).await.unwrap();
        // The connection goes on after the NAR.
        assert!(from.is_valid_path(&path).await.unwrap());

        let other = World { nix: world.nix.clone(), store: gradient_test_support::nix::Store::new("").unwrap() };
        let mut to = other.connect().await;
        to.add_to_store(&info, &mut Cursor::new(nar.clone())).await.unwrap();
        to.add_temp_root(&path).await.unwrap();
        to.add_temp_roots(&[&path; 1000]).await.unwrap();
        to.add_temp_roots(&[]).await.unwrap();
        let arrived = to.query_path_info(&path).await.unwrap().unwrap();
        assert_eq!((arrived.nar_hash, arrived.content_address), (info.nar_hash, info.content_address.clone()));
        // Adding what is there already is no error.
        to.add_to_store(&info, &mut Cursor::new(nar)).await.unwrap();
        assert!(to.is_valid_path(&path).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_nar_that_lies_is_refused() {
    with_each_nix(async |world| {
        let path = world.add("greeting.txt", "hello\n");
        let mut connection = world.connect().await;
        let info = connection.query_path_info(&path).await.unwrap().unwrap();
        let mut nar = Vec::new();
        connection.nar_from_path(&path, info.nar_size, &mut nar).await.unwrap();
        connection.delete([&path].into_iter()).await.unwrap();
        let hello = nar.windows(5).position(|window| window == b"hello").unwrap();
        nar[hello] = b'j';
        let refused = connection.add_to_store(&info, &mut Cursor::new(nar)).await;
        assert!(matches!(&refused, Err(Error::Refused(message)) if message.contains("hash mismatch")), "{refused:?}");
        assert!(!world.connect().await.is_valid_path(&path).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn what_is_rooted_is_not_deleted() {
    with_each_nix(async |world| {
        let path = world.add("greeting.txt", "hello\n");
        let mut holder = world.connect().await;
        holder.add_temp_root(&path).await.unwrap();
        let refused = world.connect().await.delete([&path].into_iter()).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
        drop(holder);
        // The root goes with the process that holds it, which ends a moment after its connection.
        loop {
            if let Ok(collected) = world.connect().await.delete([&path].into_iter()).await {
                assert_eq!(collected.paths, std::slice::from_ref(&path));
                break;
            }
        }
        assert!(!world.connect().await.is_valid_path(&path).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_socket_works_as_well() {
    with_each_nix(async |world| {
        let socket = world.store.home().join("socket");
        let mut daemon = tokio::process::Command::new(world.nix.program("nix-daemon"));
        daemon.envs(world.store.environment()).env("NIX_DAEMON_SOCKET_PATH", &socket).kill_on_drop(true);
        let _daemon = daemon.spawn().unwrap();
        let mut connection = loop {
            match gradient_nix_daemon::Connection::open_socket(&socket).await {
                Ok(connection) => break connection,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let path = world.add("greeting.txt", "hello\n");
        assert!(connection.is_valid_path(&path).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_cannot_start_says_why() {
    let absent = Daemon::new("/nonexistent/nix-daemon").connect().await.err().unwrap();
    assert_eq!(absent.to_string(), "cannot start `/nonexistent/nix-daemon`");
    with_each_nix(async |world| {
        let broken = world.daemon().env("NIX_REMOTE", "nonsense://").connect().await.err().unwrap();
        assert!(matches!(&broken, Error::Ended(why) if why.contains("nonsense")), "{broken:?}");
    })
    .await;
}
