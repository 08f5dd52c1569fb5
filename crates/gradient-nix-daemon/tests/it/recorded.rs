//! Conversations with real daemons, recorded once and held again with their words: no Nix is needed.
//!
//! `cargo nextest run -p gradient-nix-daemon --run-ignored only` records them anew with each Nix that is installed, in
//! `tests/recordings/<version>`. The difference to what was there before is for a person to look at.

mod conversation;
mod record;
mod tape;
mod versions;

use std::{collections::BTreeSet, fs, io::Cursor, path::PathBuf, time::Duration};

use conversation::Conversation;
use tape::{Entry, Tape, parse, render};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Longer than any conversation, so that one that stops does not stop the test.
const PATIENCE: Duration = Duration::from_secs(30);

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "recordings"].iter().collect()
}

/// All recordings: the version, the conversation, and the text.
fn recordings() -> Vec<(String, Conversation, String)> {
    let mut versions: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    versions.retain(|entry| entry.is_dir());
    versions.sort();
    let each = versions.iter().flat_map(|version| Conversation::ALL.map(|conversation| (version, conversation)));
    each.map(|(version, conversation)| {
        let text = fs::read_to_string(version.join(conversation.name()).with_extension("txt")).unwrap();
        (version.file_name().unwrap().to_str().unwrap().to_owned(), conversation, text)
    })
    .collect()
}

/// Holds a conversation again, with the daemon's words from a recording; gives what was said and understood this time.
async fn replay(conversation: Conversation, recording: &[Entry]) -> Vec<Entry> {
    let tape = Tape::default();
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let (reader, writer) = tokio::io::split(near);
    let daemon = async {
        for entry in recording {
            match entry {
                Entry::Client(said) => {
                    // What it says is on the tape.
                    let mut heard = vec![0; said.len()];
                    if far.read_exact(&mut heard).await.is_err() {
                        return;
                    }
                }
                Entry::Daemon(said) => far.write_all(said).await.unwrap_or_default(),
                Entry::Step(_) | Entry::Outcome(_) => {}
            }
        }
        drop(far);
    };
    let client = conversation.hold(&tape, tape.hears(reader), tape.hears(writer));
    let _ = tokio::time::timeout(PATIENCE, async { tokio::join!(daemon, client) }).await;
    tape.entries()
}

#[tokio::test]
async fn the_client_says_what_it_said_and_understands_what_it_understood() {
    for (version, conversation, text) in recordings() {
        let again = render(&replay(conversation, &parse(&text)).await);
        let differs = again.lines().zip(text.lines()).find(|(again, recorded)| again != recorded);
        assert!(again == text, "{version}, {}: {differs:#?}\n{again}", conversation.name());
    }
}

#[test]
fn the_oldest_and_the_newest_nix_are_recorded() {
    let versions: BTreeSet<String> = recordings().into_iter().map(|(version, ..)| version).collect();
    for wanted in ["2.8.", "2.34."] {
        assert!(versions.iter().any(|version| version.starts_with(wanted)), "{versions:?}");
    }
}

/// Holds a conversation with a daemon that says this, whatever it is told, and then leaves.
async fn listen(conversation: Conversation, said: Vec<u8>) -> Result<(), gradient_nix_daemon::Error> {
    let tape = Tape::default();
    let held = conversation.hold(&tape, Cursor::new(said), tokio::io::sink());
    tokio::time::timeout(PATIENCE, held).await.expect("the client does not end")
}

fn daemon_bytes(text: &str) -> Vec<u8> {
    let said = parse(text).into_iter().filter_map(|entry| if let Entry::Daemon(said) = entry { Some(said) } else { None });
    said.collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn a_daemon_that_leaves_in_the_middle_is_an_error() {
    for (version, conversation, text) in recordings() {
        let said = daemon_bytes(&text);
        for end in 0..said.len() {
            let ended = listen(conversation, said[..end].to_vec()).await;
            assert!(ended.is_err(), "{version}, {}: {end} bytes are enough", conversation.name());
        }
    }
}

/// Whatever comes of it, it comes to an end, and is no panic.
#[tokio::test]
async fn damaged_words_of_a_daemon_do_no_harm() {
    for (_, conversation, text) in recordings() {
        let said = daemon_bytes(&text);
        for place in 0..said.len() {
            let bytes = [said[place] ^ 0x01, said[place] ^ 0x80, !said[place], said[place].wrapping_add(8)];
            let mut damaged = said.clone();
            damaged[place] = bytes[place / 8 % bytes.len()];
            let _ = listen(conversation, damaged).await;
        }
        // Lengths, counts and kinds are words of eight bytes.
        for place in (0..said.len() - 7).step_by(8) {
            for word in [0, u64::MAX, 16 << 20] {
                let mut damaged = said.clone();
                damaged[place..place + 8].copy_from_slice(&u64::to_le_bytes(word));
                let _ = listen(conversation, damaged).await;
            }
        }
    }
}
