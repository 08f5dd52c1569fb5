//! The versions of the protocol between those of the recordings, spoken by a daemon that is told that its client is older.

use std::process::Stdio;

use gradient_test_support::nix::Store;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, duplex, split},
    process::{Child, Command},
};

use super::{Conversation, Entry, PATIENCE, Tape};
use crate::{World, with_each_nix};

/// The oldest and the newest of the client.
const MINORS: std::ops::RangeInclusive<u8> = 34..=38;

#[tokio::test]
async fn each_version_of_the_protocol_is_spoken() {
    with_each_nix(async |world| {
        let newest = world.connect().await.peer().minor;
        for minor in MINORS.take_while(|minor| u64::from(*minor) <= newest) {
            for conversation in [Conversation::Paths, Conversation::Builds] {
                let world = World { nix: world.nix.clone(), store: Store::new("").unwrap() };
                if conversation.needs_greeting() {
                    world.add("greeting.txt", "hello\n");
                }
                let (tape, mut daemon) = (Tape::default(), start(&world));
                let (stdin, stdout) = (daemon.stdin.take().unwrap(), daemon.stdout.take().unwrap());
                let (near, far) = duplex(1 << 16);
                let (from_client, to_client) = split(far);
                tokio::spawn(older(from_client, stdin, minor));
                tokio::spawn(older(stdout, to_client, minor));
                let (reader, writer) = split(near);
                tokio::time::timeout(PATIENCE, conversation.hold(&tape, reader, writer)).await.unwrap().unwrap();
                let outcomes: Vec<_> = tape.entries().into_iter().filter(|entry| matches!(entry, Entry::Outcome(_))).collect();
                let Entry::Outcome(peer) = &outcomes[0] else { panic!("{outcomes:?}") };
                assert!(peer.starts_with(&format!("Peer {{ minor: {minor}, ")), "{peer}");
                assert_eq!(peer.contains("trusted: Some(true)"), minor >= 35, "{peer}");
            }
        }
    })
    .await;
}

fn start(world: &World) -> Child {
    let mut daemon = Command::new(world.nix.program("nix-daemon"));
    daemon.arg("--stdio").envs(world.store.environment()).stdin(Stdio::piped()).stdout(Stdio::piped());
    daemon.kill_on_drop(true).spawn().unwrap()
}

/// Passes on what one side says, but for the minor version in its greeting, which is this one.
async fn older(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, minor: u8) {
    let mut greeting = [0; 16];
    if from.read_exact(&mut greeting).await.is_ok() {
        greeting[8] = minor;
        let _ = to.write_all(&greeting).await;
        let _ = to.flush().await;
        let _ = copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    }
}
