//! Records conversations with the daemons that are installed.

use std::{
    fs,
    process::Stdio,
    time::{Duration, SystemTime},
};

use gradient_test_support::nix::{Store, installations};
use tokio::process::Command;

use super::{
    Conversation, Entry, PATIENCE, Tape, conversation, folder, render, replay,
    tape::{self, Value},
};
use crate::World;

/// What stands in recordings for the moment and the process that they are of.
const MOMENT: u64 = 1_000_000_000;
const PROCESS: u64 = 1;

#[tokio::test]
#[ignore = "writes into the source tree"]
async fn record() {
    for nix in installations().unwrap() {
        let version = Command::new(nix.program("nix-daemon")).arg("--version").output().await.unwrap();
        let version = String::from_utf8(version.stdout).unwrap();
        let folder = folder().join(version.trim().rsplit(' ').next().unwrap());
        fs::create_dir_all(&folder).unwrap();
        for conversation in Conversation::ALL {
            let world = World { nix: nix.clone(), store: Store::new("").unwrap() };
            let recording = hold(conversation, &world).await;
            // What the client understands of it is noted as it is held again, since that is what the test compares with.
            let text = render(&replay(conversation, &recording).await);
            fs::write(folder.join(conversation.name()).with_extension("txt"), text).unwrap();
        }
    }
}

async fn hold(conversation: Conversation, world: &World) -> Vec<Entry> {
    if conversation.needs_greeting() {
        assert_eq!(world.add("greeting.txt", "hello\n").to_string(), conversation::GREETING);
    }
    let mut daemon = Command::new(world.nix.program("nix-daemon"));
    daemon.arg("--stdio").envs(world.store.environment()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut daemon = daemon.kill_on_drop(true).spawn().unwrap();
    let (stdin, stdout) = (daemon.stdin.take().unwrap(), daemon.stdout.take().unwrap());
    let tape = Tape::default();
    let held = conversation.hold(&tape, tape.hears(stdout), tape.hears(stdin));
    let ended = tokio::time::timeout(PATIENCE, held).await.unwrap();
    let is_refusal = matches!(conversation, Conversation::RefusedDeletion | Conversation::RefusedNar);
    assert_eq!(ended.is_err(), is_refusal, "{}: {ended:?}", conversation.name());
    let here = Here { root: world.store.root().to_str().unwrap().to_owned(), process: daemon.id().unwrap().into() };
    let without_outcomes = Tape::default();
    for entry in tape.entries() {
        match entry {
            Entry::Outcome(_) => {}
            Entry::Daemon(said) => without_outcomes.push(Entry::Daemon(said)),
            other => without_outcomes.push(other),
        }
    }
    let entries = without_outcomes.entries().into_iter();
    entries.map(|entry| if let Entry::Daemon(said) = entry { Entry::Daemon(here.strip(&said)) } else { entry }).collect()
}

/// What is of this machine and this moment.
struct Here {
    root: String,
    process: u64,
}

impl Here {
    fn strip(&self, said: &[u8]) -> Vec<u8> {
        let mut values = tape::values(said);
        for value in &mut values {
            match value {
                Value::Number(number) if is_now(*number) => *number = MOMENT,
                // Activities are numbered by process.
                Value::Number(number) if *number >> 32 == self.process => *number = PROCESS << 32 | *number & 0xffff_ffff,
                Value::Text(text) => {
                    if let Ok(plain) = str::from_utf8(text) {
                        *text = plain.replace(&self.root, "").into_bytes();
                    }
                }
                Value::Number(_) | Value::Raw(_) => {}
            }
        }
        tape::bytes(&values)
    }
}

fn is_now(number: u64) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    now.abs_diff(Duration::from_secs(number)) < Duration::from_hours(1)
}
