//! Why a build ended without its outputs.

use serde::{Deserialize, Serialize};

use crate::vocabulary::vocabulary;

vocabulary! {
    /// The kinds of failure. Only `Permanent`, `Timeout`, `Silent`, `LogLimit` and `OutputLimit` count against the derivation.
    pub enum FailureKind: "failure kind" {
        /// The builder failed, or its outputs are not what the derivation says.
        Permanent = "permanent",
        /// It ran longer than allowed.
        Timeout = "timeout",
        /// It printed nothing for longer than allowed.
        Silent = "silent",
        /// It printed more than allowed.
        LogLimit = "log_limit",
        /// Its outputs are larger than allowed.
        OutputLimit = "output_limit",
        /// The machine, the network or the daemon failed; worth another try.
        Transient = "transient",
        /// This worker cannot build it, another may.
        WorkerUnfit = "worker_unfit",
        /// An input could not be brought to the worker.
        InputsMissing = "inputs_missing",
        /// A kind of derivation that cannot be built here.
        UnsupportedDerivation = "unsupported_derivation",
        /// It was cancelled.
        Aborted = "aborted",
    }
}

impl FailureKind {
    /// Whether trying again can help.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Transient | Self::WorkerUnfit | Self::InputsMissing)
    }
}

/// A failure with its sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its kind.
    pub kind: FailureKind,
    /// One or more sentences for a person.
    pub message: String,
}
