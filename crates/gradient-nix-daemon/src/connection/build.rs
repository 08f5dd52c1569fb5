mod derivation;

use std::{collections::BTreeMap, time::Duration};

use gradient_nix::StorePath;

pub use derivation::{BasicDerivation, BasicOutput};
use serde::Deserialize;

use super::{Connection, Operation};
use crate::{
    Error, Event,
    event::{self, without_colours},
    wire::Reader,
};

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildResult {
    /// In a word.
    pub status: BuildStatus,
    /// The daemon's own words, without colours; empty after a success.
    pub message: String,
    /// How long the builder ran, in whole seconds.
    pub duration: Duration,
    /// Processor time of the builder, where the daemon counts it: its own code, and the system's for it.
    pub cpu: Option<(Duration, Duration)>,
    /// What its outputs turned out to be, by name; only of a content-addressed derivation are they all told.
    pub outputs: BTreeMap<String, StorePath>,
}

/// Nix's words for how a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildStatus {
    /// Built now.
    Built,
    /// Fetched from a substituter.
    Substituted,
    /// All outputs were there.
    AlreadyValid,
    /// The builder failed.
    PermanentFailure,
    /// The daemon does not take the derivation, or cannot build for its system and features.
    InputRejected,
    /// The outputs are not what the derivation says.
    OutputRejected,
    /// The builder failed in a way that may pass.
    TransientFailure,
    /// It failed before.
    CachedFailure,
    /// It ran for too long, or was silent for too long.
    TimedOut,
    /// Anything else: the machine, the store.
    MiscFailure,
    /// Something it needs failed.
    DependencyFailed,
    /// It printed too much.
    LogLimitExceeded,
    /// It gave something else than before.
    NotDeterministic,
    /// A content-addressed one that was there by another name.
    ResolvesToAlreadyValid,
    /// Nothing has it.
    NoSubstituters,
    /// The content of a fixed output has another hash.
    HashMismatch,
    /// It was given up.
    Cancelled,
    /// A word that newer daemons say.
    Unknown(u64),
}

impl BuildStatus {
    /// Whether the outputs are there.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Built | Self::Substituted | Self::AlreadyValid | Self::ResolvesToAlreadyValid)
    }
}

impl From<u64> for BuildStatus {
    fn from(number: u64) -> Self {
        match number {
            0 => Self::Built,
            1 => Self::Substituted,
            2 => Self::AlreadyValid,
            3 => Self::PermanentFailure,
            4 => Self::InputRejected,
            5 => Self::OutputRejected,
            6 => Self::TransientFailure,
            7 => Self::CachedFailure,
            8 => Self::TimedOut,
            9 => Self::MiscFailure,
            10 => Self::DependencyFailed,
            11 => Self::LogLimitExceeded,
            12 => Self::NotDeterministic,
            13 => Self::ResolvesToAlreadyValid,
            14 => Self::NoSubstituters,
            15 => Self::HashMismatch,
            16 => Self::Cancelled,
            unknown => Self::Unknown(unknown),
        }
    }
}

/// A build that runs. Its events are taken one after the other, so a slow reader slows the builder down; dropping it leaves the
/// connection out of step, and dropping the connection then ends the builder.
#[must_use = "the build ends when it is dropped"]
pub struct Build<'a> {
    connection: &'a mut Connection,
}

impl Connection {
    /// Builds a derivation, which need not be in the store itself; its inputs have to be.
    pub async fn build_derivation(&mut self, path: &StorePath, derivation: &BasicDerivation) -> Result<Build<'_>, Error> {
        let writer = self.begin(Operation::BuildDerivation)?.text(path.to_absolute());
        derivation.write(writer);
        // Build what is missing; neither repair nor check.
        writer.number(0).flush().await?;
        Ok(Build { connection: self })
    }
}

impl Build<'_> {
    /// The next thing that happens; `None` when the build has ended. Not cancel safe: half a message may be read.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        event::next(&mut self.connection.reader).await
    }

    /// How it ended. To be asked once [`next`](Self::next) has given `None`.
    pub async fn result(self) -> Result<BuildResult, Error> {
        let result = read_result(&mut self.connection.reader, self.connection.peer.minor).await?;
        self.connection.end();
        Ok(result)
    }
}

async fn read_result(reader: &mut Reader, minor: u64) -> Result<BuildResult, Error> {
    let status = reader.number().await?.into();
    let message = without_colours(&reader.text().await?);
    let _times_built = reader.number().await?;
    let _not_deterministic = reader.flag().await?;
    let (start, stop) = (reader.number().await?, reader.number().await?);
    let cpu = if minor >= 37 { microseconds(reader).await?.zip(microseconds(reader).await?) } else { None };
    let mut outputs = BTreeMap::new();
    for _ in 0..reader.count().await? {
        let id = reader.text().await?;
        let realisation = reader.bytes().await?;
        outputs.insert(output_of(&id)?, path_of(&realisation)?);
    }
    Ok(BuildResult { status, message, duration: Duration::from_secs(stop.saturating_sub(start)), cpu, outputs })
}

/// `sha256:<hash modulo>!<output>`, of which the output.
fn output_of(id: &str) -> Result<String, Error> {
    let (_, output) = id.rsplit_once('!').ok_or(Error::Malformed("the name of an output"))?;
    Ok(output.to_owned())
}

/// What a realisation, which is JSON, says that an output is.
fn path_of(realisation: &[u8]) -> Result<StorePath, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Realisation {
        out_path: StorePath,
    }
    let read = serde_json::from_slice(realisation);
    read.map(|Realisation { out_path }| out_path).map_err(|_| Error::Malformed("what an output turned out to be"))
}

async fn microseconds(reader: &mut Reader) -> Result<Option<Duration>, Error> {
    Ok(if reader.flag().await? { Some(Duration::from_micros(reader.number().await?)) } else { None })
}
