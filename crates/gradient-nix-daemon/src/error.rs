use std::{io, path::PathBuf};

use gradient_nix::StorePath;
use thiserror::Error;

/// Why an operation of the daemon has no result.
#[derive(Debug, Error)]
pub enum Error {
    /// The daemon's program does not start.
    #[error("cannot start `{}`", program.display())]
    Spawn {
        /// Which program.
        program: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The daemon ended before it answered.
    #[error("the Nix daemon ended: {0}")]
    Ended(String),
    /// The connection broke.
    #[error("the connection to the Nix daemon broke")]
    Io(#[from] io::Error),
    /// The NAR that was to be sent could not be read.
    #[error("cannot read the NAR to add")]
    Source(#[source] io::Error),
    /// The NAR that was received could not be handed on.
    #[error("cannot hand on the NAR that the Nix daemon sends")]
    Sink(#[source] io::Error),
    /// The NAR that was to be sent is longer or shorter than was said.
    #[error("the NAR to add has not the {declared} bytes that were declared")]
    NarSize {
        /// What was said.
        declared: u64,
    },
    /// Something else is at the other end.
    #[error("this is no Nix daemon: it answers {0:#x}")]
    NotADaemon(u64),
    /// The daemon is older than Nix 2.8, or of another age altogether.
    #[error("the Nix daemon speaks protocol {major}.{minor}, but 1.34 (Nix 2.8) or newer is needed")]
    Version {
        /// The first part.
        major: u64,
        /// The second part.
        minor: u64,
    },
    /// The daemon says what the protocol does not know.
    #[error("the Nix daemon sent {0} that breaks the protocol")]
    Malformed(&'static str),
    /// The daemon announces more than is taken.
    #[error("the Nix daemon sent {what} of size {size}, more than the {limit} that are taken")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// The daemon refused; its own words, without colours.
    #[error("{0}")]
    Refused(String),
    /// An earlier operation failed or was given up in the middle.
    #[error("the connection to the Nix daemon is out of step after an operation that failed")]
    OutOfStep,
    /// The derivation cannot be sent as one that is ready to be built.
    #[error("output `{output}` has no path: only resolved derivations can be built")]
    Unresolved {
        /// The output.
        output: String,
    },
    /// The derivation needs what a derivation makes that has yet to be made itself.
    #[error("an output of what {input} makes is needed: only resolved derivations can be built")]
    Dynamic {
        /// The derivation that makes the other one.
        input: StorePath,
    },
}
