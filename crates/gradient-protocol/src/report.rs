//! What a worker says of a job.

use gradient_domain::{BuildTimes, Failure, MessageLevel};
use gradient_nix::{NarHash, StorePath};
use serde::{Deserialize, Serialize};

use crate::Source;

/// Numbers the reports of one worker process, from 1.
pub type ReportNumber = u64;

/// Something that happened to a job, which has to be durable before it is forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The work itself began: inputs are there, a slot is free.
    Started {},
    /// A fetch ended: the source is in the organization's scope.
    Fetched {
        /// What was fetched.
        source: Source,
    },
    /// A part of an evaluation. Inputs come before what needs them, across all parts.
    Derivations {
        /// Derivations that were not sent before.
        derivations: Vec<DerivationFile>,
        /// Entry points whose derivations have been sent, and those that failed.
        entry_points: Vec<EntryPoint>,
        /// What there is to say of the evaluation so far.
        messages: Vec<EvaluationMessage>,
    },
    /// All parts of an evaluation have been sent.
    Evaluated {},
    /// The builder has ended well and its slot is free: the outputs are on their way.
    Made {
        /// All outputs of the derivation, so that builds which need them may begin on the same worker; none when it does not say.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<BuiltOutput>,
    },
    /// A build ended with its outputs, which were uploaded before.
    Built {
        /// All outputs of the derivation.
        outputs: Vec<BuiltOutput>,
        /// Milliseconds that the builder ran.
        build_ms: u64,
        /// How long the log is; all of it has been sent.
        log_bytes: u64,
    },
    /// The job ended without a result.
    Failed {
        /// Why.
        failure: Failure,
        /// How long the log is; all of it has been sent.
        log_bytes: u64,
    },
    /// An evaluation imports from a derivation, and its builder has begun. This and what follows of it is only said where the task
    /// asks for it: see [`EvaluateTask::show_ifd`](crate::EvaluateTask::show_ifd).
    IfdStarted {
        /// The derivation; one is told of once.
        derivation: StorePath,
        /// What it is built on.
        system: String,
    },
    /// What the builder of such a derivation printed.
    IfdLog {
        /// The derivation.
        derivation: StorePath,
        /// Where `bytes` begin in its log.
        offset: u64,
        /// At most 256 KiB.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The builder of such a derivation has ended; all of its log has been sent.
    IfdEnded {
        /// The derivation.
        derivation: StorePath,
        /// Why it has no outputs, when it has none.
        failure: Option<Failure>,
        /// Milliseconds that it ran.
        build_ms: u64,
    },
}

/// One derivation as it is in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivationFile {
    /// Its path.
    pub path: StorePath,
    /// Its bytes; the server recomputes every path from them.
    #[serde(with = "serde_bytes")]
    pub aterm: Vec<u8>,
}

/// One attribute that the wildcard matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPoint {
    /// The attribute path, names quoted where they need it.
    pub attribute: String,
    /// Its derivation, or why there is none.
    pub outcome: Result<StorePath, String>,
    /// How long its builder may take, as its `meta` has it. It says nothing of the builds that this one needs.
    #[serde(default, skip_serializing_if = "BuildTimes::is_empty")]
    pub times: BuildTimes,
}

/// Something to tell the people who look at an evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluationMessage {
    /// How much it matters.
    pub level: MessageLevel,
    /// What says so: `nix`, `wildcard`, `fetch` …
    pub source: String,
    /// The attribute it is about, when it is about one.
    pub attribute: Option<String>,
    /// The text.
    pub message: String,
}

/// One output of a finished build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltOutput {
    /// Its name, such as `out`.
    pub name: String,
    /// Its path.
    pub path: StorePath,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// The size of its NAR in bytes.
    pub nar_size: u64,
    /// What it refers to.
    pub references: Vec<StorePath>,
}
