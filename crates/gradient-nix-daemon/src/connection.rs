mod build;
pub(crate) mod handshake;
mod options;
pub(crate) mod process;
mod store;

use gradient_nix::StorePath;
use tokio::io::{AsyncRead, AsyncWrite};

pub use build::{BasicDerivation, BasicOutput, Build, BuildResult, BuildStatus};
pub use options::Options;
pub use process::Daemon;
pub use store::{Collected, PathInfo};

use crate::{
    Error, Event, event,
    wire::{Reader, Writer},
};

/// A connection to a Nix daemon, one operation at a time. After an error, and after an operation whose future was dropped, it
/// is out of step and every further operation is refused: drop it and connect again.
pub struct Connection {
    reader: Reader,
    writer: Writer,
    peer: Peer,
    in_step: bool,
    process: Option<process::Process>,
}

/// Who answers at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The minor version of the protocol (its major version is 1) that both sides speak.
    pub minor: u64,
    /// The daemon's Nix, such as `2.8.0`.
    pub nix_version: String,
    /// Whether the daemon believes what this client says of paths; older daemons than Nix 2.13 do not tell.
    pub trusted: Option<bool>,
}

/// The operations, in Nix's numbering.
#[derive(Clone, Copy)]
enum Operation {
    IsValidPath = 1,
    AddTempRoot = 11,
    SetOptions = 19,
    CollectGarbage = 20,
    QueryPathInfo = 26,
    QueryValidPaths = 31,
    BuildDerivation = 36,
    NarFromPath = 38,
    AddToStoreNar = 39,
}

impl Connection {
    /// Shakes hands with a daemon that listens on the other side of two byte streams.
    pub async fn open(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, Error> {
        let mut reader = Reader::new(Box::new(reader));
        let mut writer = Writer::new(Box::new(writer));
        let peer = handshake::shake(&mut reader, &mut writer, handshake::NEWEST_MINOR).await?;
        Ok(Self { reader, writer, peer, in_step: true, process: None })
    }

    /// Connects to the daemon that listens on a Unix socket, such as `/nix/var/nix/daemon-socket/socket`.
    pub async fn open_socket(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        let (reader, writer) = tokio::net::UnixStream::connect(path).await?.into_split();
        Self::open(reader, writer).await
    }

    /// Who answers.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether operations are still possible.
    pub fn is_in_step(&self) -> bool {
        self.in_step
    }

    /// Begins an operation; from here until [`end`](Self::end) the connection counts as out of step.
    fn begin(&mut self, operation: Operation) -> Result<&mut Writer, Error> {
        if !std::mem::replace(&mut self.in_step, false) {
            return Err(Error::OutOfStep);
        }
        Ok(self.writer.number(operation.number()))
    }

    fn end(&mut self) {
        self.in_step = true;
    }

    /// Sends what was written and waits until the daemon comes to the operation's answer.
    async fn answer(&mut self) -> Result<&mut Reader, Error> {
        self.writer.flush().await?;
        skip_events(&mut self.reader).await?;
        Ok(&mut self.reader)
    }
}

impl Operation {
    const fn number(self) -> u64 {
        // The discriminants are the numbers; they all are small.
        self as u64
    }
}

pub(crate) async fn skip_events(reader: &mut Reader) -> Result<(), Error> {
    while let Some(event) = event::next(reader).await? {
        if let Event::Message(message) = event {
            tracing::debug!(%message, "nix daemon");
        }
    }
    Ok(())
}

fn paths<'a>(writer: &mut Writer, paths: impl ExactSizeIterator<Item = &'a StorePath>) {
    writer.texts(paths.map(StorePath::to_absolute));
}

async fn read_paths(reader: &mut Reader) -> Result<Vec<StorePath>, Error> {
    reader.texts().await?.iter().map(|path| parse_path(path)).collect()
}

fn parse_path(path: &str) -> Result<StorePath, Error> {
    StorePath::from_absolute(path).map_err(|_| Error::Malformed("a store path"))
}

#[cfg(test)]
mod tests;
