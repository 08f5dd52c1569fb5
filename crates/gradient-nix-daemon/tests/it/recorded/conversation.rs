//! What the client says and does in a recorded conversation: the same each time, whoever answers.

use std::{io::Cursor, sync::LazyLock};

use gradient_nix::{Derivation, StorePath};
use gradient_nix_daemon::{BasicDerivation, BasicOutput, Connection, Error, Event, Options, PathInfo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::tape::{Entry, Tape};

/// A file that says "hello".
pub(super) const GREETING: &str = "5cil4z0s59ii1splw7bhxf230bfdxfq5-greeting.txt";

/// What no store has.
const ABSENT: &str = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello-2.12";

/// Prints two lines and has two outputs, one of which refers to the other; needs the greeting.
static TOLD: LazyLock<Request> = LazyLock::new(|| Request::new("pg1igd9ab6f4ky2n5mldm690sq2r7n14-told.drv", TOLD_ATERM));
const TOLD_ATERM: &str = r#"Derive([("dev","/nix/store/y3jawl1l7w6717s1dji5jyjwgibjq0vn-told-dev","",""),("out","/nix/store/09899w5kdn2fj102z4iyfdy7b8pmqqz5-told","","")],[],["/nix/store/5cil4z0s59ii1splw7bhxf230bfdxfq5-greeting.txt"],"x86_64-linux","/bin/sh",["-e","-c","echo one; echo two >&2; cat $src > $out; echo $out > $dev"],[("PATH","/bin"),("builder","/bin/sh"),("dev","/nix/store/y3jawl1l7w6717s1dji5jyjwgibjq0vn-told-dev"),("name","told"),("out","/nix/store/09899w5kdn2fj102z4iyfdy7b8pmqqz5-told"),("outputs","out dev"),("src","/nix/store/5cil4z0s59ii1splw7bhxf230bfdxfq5-greeting.txt"),("system","x86_64-linux")])"#;

/// Prints a line and fails.
static FAILING: LazyLock<Request> = LazyLock::new(|| Request::new("qzfivw4wcvw5nggvwxcaab6diwp9zdag-failing.drv", FAILING_ATERM));
const FAILING_ATERM: &str = r#"Derive([("out","/nix/store/bs4wfr12118xppbpg77iqw7zi5xkyy8b-failing","","")],[],[],"x86_64-linux","/bin/sh",["-e","-c","echo it broke; exit 3"],[("PATH","/bin"),("builder","/bin/sh"),("name","failing"),("out","/nix/store/bs4wfr12118xppbpg77iqw7zi5xkyy8b-failing"),("system","x86_64-linux")])"#;

/// What is to be built.
struct Request {
    path: StorePath,
    derivation: BasicDerivation,
}

impl Request {
    fn new(derivation_path: &str, aterm: &str) -> Self {
        let path = path(derivation_path);
        let derivation = Derivation::from_aterm_bytes(aterm.as_bytes(), path.name().strip_suffix(".drv").unwrap()).unwrap();
        Self { derivation: BasicDerivation::new(&derivation, []).unwrap(), path }
    }
}

/// Each is held in a store of its own, over one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversation {
    /// What is in the store, and what goes into it and comes out of it.
    Paths,
    /// A build that succeeds, and one that fails.
    Builds,
    /// A path goes.
    Deletion,
    /// A path does not go, as this connection itself holds it.
    RefusedDeletion,
    /// A NAR that is another than was said.
    RefusedNar,
}

impl Conversation {
    pub(super) const ALL: [Self; 5] = [Self::Paths, Self::Builds, Self::Deletion, Self::RefusedDeletion, Self::RefusedNar];

    /// The name of its recording.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Paths => "paths",
            Self::Builds => "builds",
            Self::Deletion => "deletion",
            Self::RefusedDeletion => "refused-deletion",
            Self::RefusedNar => "refused-nar",
        }
    }

    /// Whether the store has the greeting before.
    pub(super) fn needs_greeting(self) -> bool {
        !matches!(self, Self::Paths | Self::RefusedNar)
    }

    /// Holds it with the daemon at the other end of these streams, up to its end or the first error.
    pub(super) async fn hold(
        self,
        tape: &Tape,
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(), Error> {
        tape.push(Entry::Step("handshake".into()));
        let connection = said(tape, Connection::open(reader, writer).await.map(|open| (open.peer().clone(), open)))?;
        let mut client = Client { tape, connection };
        match self {
            Self::Paths => client.paths().await,
            Self::Builds => client.builds().await,
            Self::Deletion => client.delete().await,
            Self::RefusedDeletion => {
                client.add_temp_root().await?;
                client.delete().await
            }
            Self::RefusedNar => client.add(&nar("jello\n")).await,
        }
    }
}

/// Notes how a step ended; gives what is not to be noted.
fn said<O: std::fmt::Debug, T>(tape: &Tape, outcome: Result<(O, T), Error>) -> Result<T, Error> {
    tape.push(Entry::Outcome(match &outcome {
        Ok((outcome, _)) => format!("{outcome:?}"),
        Err(error) => format!("{error:?}"),
    }));
    outcome.map(|(_, rest)| rest)
}

struct Client<'t> {
    tape: &'t Tape,
    connection: Connection,
}

impl Client<'_> {
    fn step(&self, name: &str) {
        self.tape.push(Entry::Step(name.into()));
    }

    fn outcome(&self, outcome: Result<impl std::fmt::Debug, Error>) -> Result<(), Error> {
        said(self.tape, outcome.map(|outcome| (outcome, ())))
    }

    async fn paths(&mut self) -> Result<(), Error> {
        let (greeting, absent) = (path(GREETING), path(ABSENT));
        self.set_options().await?;
        self.query_valid_paths().await?;
        self.query_path_info(&greeting).await?;
        self.add(&nar("hello\n")).await?;
        self.add_temp_root().await?;
        self.step("add temporary roots, of which one is not there");
        let outcome = self.connection.add_temp_roots(&[&greeting, &absent]).await;
        self.outcome(outcome)?;
        for path in [&greeting, &absent] {
            self.step("is valid path");
            let outcome = self.connection.is_valid_path(path).await;
            self.outcome(outcome)?;
        }
        self.query_valid_paths().await?;
        self.query_path_info(&greeting).await?;
        self.step("NAR from path");
        let mut received = Vec::new();
        let outcome = self.connection.nar_from_path(&greeting, 120, &mut received).await;
        self.outcome(outcome.map(|()| received == nar("hello\n")))
    }

    async fn builds(&mut self) -> Result<(), Error> {
        self.set_options().await?;
        self.build(&TOLD).await?;
        for output in TOLD.derivation.outputs.values().filter_map(BasicOutput::path) {
            self.query_path_info(output).await?;
        }
        self.build(&FAILING).await
    }

    async fn set_options(&mut self) -> Result<(), Error> {
        self.step("set options");
        let options = Options {
            timeout: Some(std::time::Duration::from_mins(1)),
            max_silent: Some(std::time::Duration::from_secs(30)),
            max_log_bytes: Some(10_000),
            cores: 2,
            settings: [("print-missing".into(), "false".into())].into(),
            ..Options::default()
        };
        let outcome = self.connection.set_options(&options).await;
        self.outcome(outcome)
    }

    async fn query_valid_paths(&mut self) -> Result<(), Error> {
        self.step("query valid paths");
        let outcome = self.connection.query_valid_paths([&path(GREETING), &path(ABSENT)].into_iter()).await;
        self.outcome(outcome)
    }

    async fn query_path_info(&mut self, path: &StorePath) -> Result<(), Error> {
        self.step("query path info");
        let outcome = self.connection.query_path_info(path).await;
        self.outcome(outcome)
    }

    async fn add(&mut self, nar: &[u8]) -> Result<(), Error> {
        self.step("add to store");
        let info = PathInfo {
            path: path(GREETING),
            deriver: None,
            nar_hash: "sha256:1c37d01af40be2e80691de3cc3df44377a699afbb17c68f080964b2fd071fc13".parse().unwrap(),
            nar_size: 120,
            references: Vec::new(),
            registration_time: 0,
            ultimate: false,
            signatures: vec!["cache.example-1:c2lnbmF0dXJl".into()],
            content_address: Some("fixed:r:sha256:04zwf782yjwnh3q6hz5izfd6jyip8kgw6g6yj43fiqhbyhdd0dqw".into()),
        };
        let outcome = self.connection.add_to_store(&info, &mut Cursor::new(nar)).await;
        self.outcome(outcome)
    }

    async fn add_temp_root(&mut self) -> Result<(), Error> {
        self.step("add temporary root");
        let outcome = self.connection.add_temp_root(&path(GREETING)).await;
        self.outcome(outcome)
    }

    async fn delete(&mut self) -> Result<(), Error> {
        self.step("delete");
        let outcome = self.connection.delete([&path(GREETING)].into_iter()).await;
        self.outcome(outcome)
    }

    async fn build(&mut self, Request { path, derivation }: &Request) -> Result<(), Error> {
        self.step("build derivation");
        let outcome = async {
            let mut build = self.connection.build_derivation(path, derivation).await?;
            while let Some(event) = build.next().await? {
                self.tape.push(Entry::Outcome(match event {
                    Event::LogLine(line) => format!("LogLine(\"{}\")", line.escape_ascii()),
                    event => format!("{event:?}"),
                }));
            }
            build.result().await
        };
        let outcome = outcome.await;
        self.outcome(outcome)
    }
}

fn path(path: &str) -> StorePath {
    path.parse().unwrap()
}

/// The NAR of a file.
fn nar(content: &str) -> Vec<u8> {
    let words = ["nix-archive-1", "(", "type", "regular", "contents", content, ")"];
    super::tape::bytes(&words.map(|word| super::tape::Value::Text(word.into())))
}
