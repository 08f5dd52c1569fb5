use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use thiserror::Error;

/// What goes wrong while programs are started, asked and stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// A file or process could not be used.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it did not work.
        #[source]
        source: io::Error,
    },
    /// A program ended although it should run, or failed although it should succeed.
    #[error("{what} ended with {status}:\n{output}")]
    Ended {
        /// The program, and what for.
        what: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        output: String,
    },
    /// Something did not happen in time.
    #[error("waited {} s in vain for {what}", limit.as_secs())]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// The server could not be asked.
    #[error("{request}")]
    Unreachable {
        /// Method and path.
        request: String,
        /// Why not.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The server said no.
    #[error("{request}: {status} {code}: {message}")]
    Refused {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The envelope's slug for programs; empty without an envelope.
        code: String,
        /// The envelope's sentence for people.
        message: String,
    },
    /// An answer does not have the shape that the contract gives it.
    #[error("{request}: no envelope around `{body}`")]
    NoEnvelope {
        /// Method and path.
        request: String,
        /// What came instead.
        body: String,
    },
    /// An answer lacks what was looked for.
    #[error("expected {expected} in the answer {answer}")]
    UnexpectedAnswer {
        /// What was looked for.
        expected: String,
        /// The answer.
        answer: serde_json::Value,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A program is missing.
    #[error("{} is missing; build it first", .0.display())]
    NotBuilt(PathBuf),
}

impl DeploymentError {
    /// For `map_err`: an I/O error with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }
}
