#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

/// Words as they go over the wire.
fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Opens a connection to a daemon that says `answer`; gives the connection, all that the client said, and the far end.
async fn open(answer: Vec<u8>) -> (Result<Connection, Error>, Vec<u8>, DuplexStream) {
    let (near, mut far): (DuplexStream, DuplexStream) = tokio::io::duplex(1 << 16);
    far.write_all(&answer).await.unwrap();
    let (reader, writer) = tokio::io::split(near);
    let connection = Connection::open(reader, writer).await;
    let mut said = vec![0; 4096];
    let length = far.read(&mut said).await.unwrap();
    said.truncate(length);
    (connection, said, far)
}

const LAST: u64 = 0x616c_7473;

#[tokio::test]
async fn greets_nix_2_8() {
    let mut answer = words(&[0x6478_696f, 0x122, 5]);
    answer.extend_from_slice(b"2.8.0\0\0\0");
    answer.extend(words(&[LAST]));
    let (connection, said, _far) = open(answer).await;
    let expected = Peer { minor: 34, nix_version: "2.8.0".into(), trusted: None };
    assert_eq!(*connection.unwrap().peer(), expected);
    assert_eq!(said, words(&[0x6e69_7863, 0x126, 0, 0]));
}

#[tokio::test]
async fn greets_a_newer_nix_with_features_and_trust() {
    let mut answer = words(&[0x6478_696f, 0x130, 1, 3]);
    answer.extend_from_slice(b"new\0\0\0\0\0");
    answer.extend(words(&[6]));
    answer.extend_from_slice(b"2.34.8\0\0");
    answer.extend(words(&[1, LAST]));
    let (connection, said, _far) = open(answer).await;
    let expected = Peer { minor: 38, nix_version: "2.34.8".into(), trusted: Some(true) };
    assert_eq!(*connection.unwrap().peer(), expected);
    assert_eq!(said, words(&[0x6e69_7863, 0x126, 0, 0, 0]));
}

#[tokio::test]
async fn refuses_what_is_no_daemon_or_too_old() {
    assert!(matches!(open(words(&[1])).await.0, Err(Error::NotADaemon(1))));
    assert!(matches!(open(words(&[0x6478_696f, 0x121])).await.0, Err(Error::Version { major: 1, minor: 33 })));
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_out_of_step() {
    let mut answer = words(&[0x6478_696f, 0x122, 0, LAST]);
    answer.extend(words(&[0x6378_7470, 5]));
    answer.extend_from_slice(b"Error\0\0\0");
    answer.extend(words(&[0, 0, 2]));
    answer.extend_from_slice(b"no\0\0\0\0\0\0");
    answer.extend(words(&[0, 1, 0, 5]));
    answer.extend_from_slice(b"trace\0\0\0");
    let (connection, _, _far) = open(answer).await;
    let mut connection = connection.unwrap();
    let path = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello-2.12".parse().unwrap();
    assert!(matches!(connection.is_valid_path(&path).await, Err(Error::Refused(message)) if message == "no"));
    assert!(!connection.is_in_step());
    assert!(matches!(connection.is_valid_path(&path).await, Err(Error::OutOfStep)));
}

#[tokio::test]
async fn a_given_up_operation_leaves_the_connection_out_of_step() {
    // The far end stays open and says nothing.
    let (near, mut far) = tokio::io::duplex(1 << 16);
    far.write_all(&words(&[0x6478_696f, 0x122, 0, LAST])).await.unwrap();
    let (reader, writer) = tokio::io::split(near);
    let mut connection = Connection::open(reader, writer).await.unwrap();
    let path = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello-2.12".parse().unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_millis(1), connection.is_valid_path(&path)).await;
    assert!(waited.is_err());
    assert!(matches!(connection.is_valid_path(&path).await, Err(Error::OutOfStep)));
}
