//! What a worker is asked to do.

use std::fmt;

use gradient_domain::JobKind;
use gradient_nix::{NarHash, StorePath};
use serde::{Deserialize, Serialize};

/// The work of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Bring a commit into the store and upload it.
    Fetch(FetchTask),
    /// Turn a flake into derivations.
    Evaluate(EvaluateTask),
    /// Build one derivation.
    Build(BuildTask),
    /// The task is too large for a message, and is read at [`job_task`](crate::transfer::job_task).
    Large {},
}

impl Task {
    /// Whether it may be the task of such a job; of one that is too large for a message nobody knows yet.
    pub const fn fits(&self, kind: JobKind) -> bool {
        match self {
            Self::Fetch(_) => matches!(kind, JobKind::Fetch),
            Self::Evaluate(_) => matches!(kind, JobKind::Evaluate),
            Self::Build(_) => matches!(kind, JobKind::Build),
            Self::Large {} => true,
        }
    }
}

/// Bring a commit into the store and upload it to the organization's scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchTask {
    /// The repository as git understands it, without credentials in it.
    pub repository: String,
    /// 40 hexadecimal digits.
    pub commit: String,
    /// The branch the commit is on, where one is known.
    pub reference: Option<String>,
    /// How to get in, when the repository is not public.
    pub access: Option<GitAccess>,
}

/// An SSH identity for one fetch.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitAccess {
    /// The private key in OpenSSH's own format.
    pub ssh_private_key: String,
    /// The host keys seen so far, in the format of `known_hosts`; empty means the first one is trusted.
    pub known_hosts: String,
}

impl fmt::Debug for GitAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitAccess").finish_non_exhaustive()
    }
}

/// A fetched source tree, with what Nix's `self` says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Where it is in the store.
    pub path: StorePath,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// The commit, 40 hexadecimal digits.
    pub rev: Option<String>,
    /// How many commits lead to it.
    pub rev_count: Option<u64>,
    /// Seconds since 1970 of the commit.
    pub last_modified: Option<i64>,
}

/// Turn a flake into derivations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluateTask {
    /// The flake's source; in the organization's scope when it is not in the worker's store.
    pub source: Source,
    /// Which attributes, as `gradient_domain::Wildcard` reads it.
    pub wildcard: String,
    /// Whether evaluating may build.
    pub allow_ifd: bool,
    /// Whether the server wants to be told of what evaluating builds. An older one does not know those reports.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub show_ifd: bool,
}

/// Build one derivation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildTask {
    /// The derivation's path.
    pub derivation: StorePath,
    /// Its bytes, with all inputs resolved.
    #[serde(with = "serde_bytes")]
    pub aterm: Vec<u8>,
    /// Everything its builder may read: the closure of its inputs, references first.
    pub inputs: Vec<InputPath>,
    /// What bounds the build.
    pub limits: BuildLimits,
}

/// One path of an input closure, in the organization's scope or in an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPath {
    /// The path.
    pub path: StorePath,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// The size of its NAR in bytes.
    pub nar_size: u64,
    /// What it refers to, itself included where it does.
    pub references: Vec<StorePath>,
    /// The derivation that it is an output of.
    pub deriver: Option<StorePath>,
    /// Its content address, in Nix's notation.
    pub content_address: Option<String>,
    /// Where to fetch it, when the server does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamNar>,
}

/// A NAR in a cache elsewhere, which the worker fetches itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamNar {
    /// Its address, http or https. Nothing signs it: what comes from there has to have the hash.
    pub url: String,
    /// How it is compressed there, in Nix's words.
    pub compression: String,
    /// What the cache signs with, `name:base64`.
    pub public_key: String,
    /// Its signature of the path, `name:base64`.
    pub signature: String,
    /// Whether it may be on the worker's machine or in a private network.
    pub local: bool,
}

impl UpstreamNar {
    /// How a NAR may be compressed that a worker can fetch.
    pub const COMPRESSIONS: [&'static str; 5] = ["none", "xz", "bzip2", "gzip", "zstd"];
}

/// What bounds a build. The clock starts when the builder starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildLimits {
    /// Seconds the builder may run; `None` means no limit.
    pub timeout_secs: Option<u64>,
    /// Seconds it may print nothing.
    pub max_silent_secs: Option<u64>,
    /// Bytes it may print.
    pub max_log_bytes: u64,
    /// Bytes all its outputs' NARs may have.
    pub max_output_bytes: Option<u64>,
}
