//! What a Nix daemon says, from the handshake on, to a client that asks for the same thing again and again.
#![no_main]

use std::{
    io::Cursor,
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use gradient_nix::{Derivation, StorePath};
use gradient_nix_daemon::{BasicDerivation, Connection, Error, Options};
use libfuzzer_sys::fuzz_target;

/// Bounds what the client takes of a NAR.
const NAR_SIZE: u64 = 120;

const ATERM: &str = r#"Derive([("out","/nix/store/bs4wfr12118xppbpg77iqw7zi5xkyy8b-failing","","")],[],[],"x86_64-linux","/bin/sh",["-e","-c","echo it broke; exit 3"],[("PATH","/bin"),("builder","/bin/sh"),("name","failing"),("out","/nix/store/bs4wfr12118xppbpg77iqw7zi5xkyy8b-failing"),("system","x86_64-linux")])"#;

static PATH: LazyLock<StorePath> = LazyLock::new(|| "5cil4z0s59ii1splw7bhxf230bfdxfq5-greeting.txt".parse().expect("a path"));

static DERIVATION: LazyLock<BasicDerivation> = LazyLock::new(|| {
    let derivation = Derivation::from_aterm_bytes(ATERM.as_bytes(), "failing").expect("a derivation");
    BasicDerivation::new(&derivation, []).expect("one that can be built")
});

/// What the client asks for.
#[derive(Clone, Copy)]
enum Asks {
    Options,
    IsValid,
    ValidPaths,
    PathInfos,
    TempRoots,
    Nar,
    Build,
    Delete,
}

fuzz_target!(|said: &[u8]| {
    use Asks::{Build, Delete, IsValid, Nar, Options, PathInfos, TempRoots, ValidPaths};
    for asks in [Options, IsValid, ValidPaths, PathInfos, TempRoots, Nar, Build, Delete] {
        // It ends with what was said, if not before.
        assert!(ended(converse(said.to_vec(), asks)).is_err());
    }
});

async fn converse(said: Vec<u8>, asks: Asks) -> Result<(), Error> {
    let mut connection = Connection::open(Cursor::new(said), tokio::io::sink()).await?;
    loop {
        ask(&mut connection, asks).await?;
        assert!(connection.is_in_step());
    }
}

async fn ask(connection: &mut Connection, asks: Asks) -> Result<(), Error> {
    match asks {
        Asks::Options => connection.set_options(&Options::default()).await,
        Asks::IsValid => connection.is_valid_path(&PATH).await.map(drop),
        Asks::ValidPaths => connection.query_valid_paths([&*PATH].into_iter()).await.map(drop),
        Asks::PathInfos => connection.query_path_infos(&[&PATH, &PATH]).await.map(drop),
        Asks::TempRoots => connection.add_temp_roots(&[&PATH, &PATH]).await,
        Asks::Nar => {
            let mut nar = Vec::new();
            connection.nar_from_path(&PATH, NAR_SIZE, &mut nar).await?;
            assert_eq!(nar.len() as u64, NAR_SIZE);
            Ok(())
        }
        Asks::Build => {
            let mut build = connection.build_derivation(&PATH, &DERIVATION).await?;
            while build.next().await?.is_some() {}
            build.result().await.map(drop)
        }
        Asks::Delete => connection.delete([&*PATH].into_iter()).await.map(drop),
    }
}

/// Streams in memory are always ready, so that what waits is done at once.
fn ended<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits for nobody"),
    }
}
