//! The frames in `golden/<version>.txt`, each a line of a name and the bytes in hexadecimal. A new version adds a file; what is in one
//! never changes.

use std::{collections::BTreeMap, fmt::Debug, fmt::Write as _};

use gradient_protocol::{Message, ToServer, ToWorker, VERSIONS, decode, encode};

use crate::messages;

const FIRST: &str = include_str!("golden/1.txt");

fn frames(text: &str) -> BTreeMap<&str, Vec<u8>> {
    text.lines().map(|line| line.split_once(' ').unwrap()).map(|(name, hex)| (name, bytes(hex))).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn check<M: Message + PartialEq + Debug>(frames: &BTreeMap<&str, Vec<u8>>, messages: Vec<(&str, M)>) {
    for (name, message) in messages {
        let frame = frames.get(name).unwrap_or_else(|| panic!("there is no frame of {name}"));
        assert_eq!(decode::<M>(frame).unwrap(), message, "{name}");
    }
}

#[test]
fn version_1_is_understood() {
    let frames = frames(FIRST);
    check::<ToServer>(&frames, messages::of_workers());
    check::<ToWorker>(&frames, messages::of_servers());
    assert_eq!(frames.len(), messages::of_workers().len() + messages::of_servers().len());
}

#[test]
fn each_version_and_each_type_of_message_has_its_frames() {
    assert_eq!((VERSIONS.min, VERSIONS.max), (1, 1), "a new version has its own file, and a test above");
    let frames = frames(FIRST);
    let types = |of: &[&str], side: &str| {
        for message_type in of {
            assert!(frames.keys().any(|name| name.starts_with(&format!("{side}.{message_type}"))), "{side}.{message_type}");
        }
    };
    types(ToServer::TYPES, "worker");
    types(ToWorker::TYPES, "server");
}

/// Prints the frames of the version that is spoken now: `cargo nextest run -p gradient-protocol --run-ignored only --no-capture`.
#[test]
#[ignore = "writes what a new version's file consists of"]
fn print_the_frames() {
    let line = |name: &str, frame: Vec<u8>| {
        let hex = frame.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        println!("{name} {hex}");
    };
    for (name, message) in messages::of_workers() {
        line(name, encode(&message).unwrap());
    }
    for (name, message) in messages::of_servers() {
        line(name, encode(&message).unwrap());
    }
}
