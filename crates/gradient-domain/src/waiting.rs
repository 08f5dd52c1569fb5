//! Why something that has not ended does not run.

use serde::{Deserialize, Serialize};

use crate::{BuildId, JobKind, Moment};

/// Builds that no connected worker fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnmetWorkers {
    /// The system they are for, such as `x86_64-linux`.
    pub architecture: String,
    /// The system features they need, sorted.
    pub required_features: Vec<String>,
    /// How many builds that is.
    pub build_count: u32,
}

/// What a machine has too little of to take more work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Shortage {
    /// Free memory.
    Memory,
    /// Free space where its store is.
    Disk,
}

/// Why an evaluation is `Waiting`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EvaluationWait {
    /// Builds are left, but no connected worker fits them.
    Workers {
        /// What is missing.
        unmet: Vec<UnmetWorkers>,
        /// How many workers the organization has connected.
        connected_workers: u32,
    },
    /// No connected worker can fetch or evaluate for the organization.
    EvalWorkers {
        /// What it would need.
        capability: JobKind,
    },
    /// The organization has no writable cache to publish to.
    NoCache,
    /// A cache's signatures come from a worker that is not there.
    Signature,
    /// The only fitting workers are draining.
    Draining,
    /// The only fitting workers have too little of something.
    Shortage {
        /// Of what.
        of: Shortage,
    },
    /// The store takes nothing more.
    StorageFull,
}

/// Why a build is `Queued`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BuildWait {
    /// It needs the outputs of builds that have not ended.
    Dependencies {
        /// Some of those builds, at most 20.
        builds: Vec<BuildId>,
    },
    /// No connected worker has the system and features.
    Workers {
        /// The system it is for.
        architecture: String,
        /// The features it needs, sorted.
        required_features: Vec<String>,
    },
    /// Fitting workers are busy.
    Slots {
        /// How many builds come before it, 0 for the next one, if nothing is added. Priorities and the shares of organizations count.
        position: u32,
        /// Seconds until its turn, when that can be told, if builds take as long as earlier ones did.
        eta_secs: Option<u64>,
        /// The same if they take half as long.
        #[serde(default)]
        eta_min_secs: Option<u64>,
        /// The same if they take twice as long.
        #[serde(default)]
        eta_max_secs: Option<u64>,
    },
    /// Fitting workers are busy, and the organization has had more of them lately than others that wait: of its own builds it is the next.
    Share {
        /// How many builds of others come before it, if nothing is added.
        position: u32,
        /// As of a build that waits for slots.
        eta_secs: Option<u64>,
        /// The same if builds take half as long.
        eta_min_secs: Option<u64>,
        /// The same if they take twice as long.
        eta_max_secs: Option<u64>,
    },
    /// It failed transiently and is tried again.
    Retry {
        /// Not before this time.
        at: Moment,
    },
    /// Its inputs are on their way to the store.
    Inputs,
    /// The only fitting workers are draining.
    Draining,
    /// The only fitting workers have too little of something.
    Shortage {
        /// Of what.
        of: Shortage,
    },
}
