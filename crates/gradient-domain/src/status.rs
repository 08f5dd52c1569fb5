//! Where evaluations and builds stand, and which moves are legal.

use crate::vocabulary::vocabulary;

vocabulary! {
    /// Where an evaluation stands.
    pub enum EvaluationStatus: "evaluation status" {
        /// Nothing has begun.
        Queued = "Queued",
        /// A worker brings the commit's source into its store.
        Fetching = "Fetching",
        /// A worker reads the flake and lists what the wildcard matches.
        EvaluatingFlake = "EvaluatingFlake",
        /// Derivations stream in; builds may already run.
        EvaluatingDerivation = "EvaluatingDerivation",
        /// All derivations are known; builds run.
        Building = "Building",
        /// Nothing of it runs or could run; the waiting reason says why.
        Waiting = "Waiting",
        /// Every entry point succeeded and is published.
        Completed = "Completed",
        /// It ended with an evaluation error or an entry point that did not succeed.
        Failed = "Failed",
        /// Somebody, or a newer evaluation, ended it.
        Aborted = "Aborted",
    }
}

impl EvaluationStatus {
    /// Whether nothing will change any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Aborted)
    }

    /// Whether an evaluation may go from here to `next`. Forward only, but for `Waiting`, which any state before the end may enter
    /// and leave, and for a lost worker, which puts fetching and evaluating back to `Queued`.
    pub const fn can_become(self, next: Self) -> bool {
        if self.is_final() {
            return false;
        }
        match next {
            Self::Queued => !matches!(self, Self::Queued),
            Self::Fetching => matches!(self, Self::Queued | Self::Waiting),
            Self::EvaluatingFlake => matches!(self, Self::Queued | Self::Fetching | Self::Waiting),
            Self::EvaluatingDerivation => matches!(self, Self::EvaluatingFlake | Self::Waiting | Self::Queued),
            Self::Building => !matches!(self, Self::Building),
            Self::Waiting => !matches!(self, Self::Waiting),
            Self::Completed | Self::Failed | Self::Aborted => true,
        }
    }
}

vocabulary! {
    /// Where a build stands.
    pub enum BuildStatus: "build status" {
        /// Waits: for dependencies, a worker, a slot; the waiting reason says which.
        Queued = "Queued",
        /// A worker has it.
        Building = "Building",
        /// Its outputs are verified, stored and published.
        Completed = "Completed",
        /// An upstream cache has all wanted outputs; nothing was built.
        Substituted = "Substituted",
        /// Its own builder failed, or it cannot be built at all.
        Failed = "Failed",
        /// Somebody ended it.
        Aborted = "Aborted",
        /// Something it needs failed.
        DependencyFailed = "DependencyFailed",
    }
}

impl BuildStatus {
    /// Whether nothing will change any more (a restart makes a new build).
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Building)
    }

    /// Whether its outputs can be used.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Completed | Self::Substituted)
    }

    /// Whether a build may go from here to `next`. A lost or transiently failed one goes back to `Queued`.
    pub const fn can_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Queued, Self::Queued) => false,
            (Self::Queued, _) | (Self::Building, Self::Queued | Self::Completed | Self::Failed | Self::Aborted) => true,
            _ => false,
        }
    }
}

vocabulary! {
    /// What a build is for.
    pub enum BuildKind: "build kind" {
        /// An evaluation needs its outputs; it is built once for all evaluations of its organization that do.
        Build = "build",
        /// An evaluation imported from its outputs, so its evaluator built it: import from derivation.
        Ifd = "ifd",
    }
}

vocabulary! {
    /// How much a message of an evaluation matters.
    pub enum MessageLevel: "message level" {
        /// The evaluation, or one entry point, failed because of it.
        Error = "Error",
        /// Something to look at.
        Warning = "Warning",
        /// Something to know.
        Notice = "Notice",
    }
}
