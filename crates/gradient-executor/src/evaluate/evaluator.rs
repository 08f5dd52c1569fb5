//! What finds out what the attributes of a flake are: an evaluator of our own, or `nix-eval-jobs`.

use gradient_domain::{BuildTimes, Failure};
use gradient_nix::StorePath;
use serde::Serialize;
use tokio::sync::mpsc;

/// One attribute to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Query {
    /// Its names, outermost first.
    pub(super) path: Vec<String>,
    /// Whether its derivation is wanted, when it is one.
    pub(super) derivation: bool,
    /// Whether the names in it are wanted, when it is a set.
    pub(super) names: bool,
}

/// What Nix says.
#[derive(Debug)]
pub(super) enum Answer {
    /// What an attribute is.
    Found {
        /// Which attribute.
        path: Vec<String>,
        /// What it is.
        found: Found,
    },
    /// The flake warns of something.
    Warning(String),
}

/// What an attribute is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Not there.
    Missing,
    /// A derivation; with its path, and the times that its `meta` asks for, where that was wanted.
    Derivation(Option<(StorePath, BuildTimes)>),
    /// A set; with its names where those were wanted.
    Set(Vec<String>),
    /// A value of this type.
    Other(String),
    /// So many of its names lead to a value that throws.
    Throws(usize),
    /// It ends the evaluator.
    Fatal(String),
}

/// Looks at the attributes of one flake.
pub(super) trait Evaluator {
    /// Answers each query once, in any order and as soon as it can. What is wrong with an attribute is an answer; only a flake that
    /// does not evaluate at all is a failure.
    async fn ask(&self, queries: &[Query], answers: mpsc::Sender<Answer>) -> Result<(), Failure>;

    /// What an attribute that throws says.
    async fn explain(&self, path: &[String]) -> String;
}
