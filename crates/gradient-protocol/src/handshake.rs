//! Who a worker is, what it can do, and whom it may serve.

use std::fmt;

use gradient_domain::{Epoch, Job, JobKind, OrganizationId, Shortage, WorkerId};
use serde::{Deserialize, Serialize};

/// The versions that this build speaks.
pub const VERSIONS: VersionRange = VersionRange { min: 1, max: 1 };

/// How many keys a worker may sign with.
pub const MAX_SIGNING_KEYS: usize = 64;

/// A range of protocol versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

impl VersionRange {
    /// The newest version that both ranges hold.
    pub fn newest_shared(self, other: Self) -> Option<u32> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

/// The first message of a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// What the worker speaks.
    pub versions: VersionRange,
    /// Which worker it is.
    pub worker: WorkerId,
    /// The version of the worker's program, for people.
    pub program: String,
    /// What proves that it may serve which peers.
    pub tokens: Vec<PeerToken>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The jobs that it still has from an earlier connection.
    pub running: Vec<(Job, Epoch)>,
    /// Whether it takes nothing new.
    #[serde(default)]
    pub draining: bool,
    /// Which process of the worker it is, by a random number that it drew when it started: of two that have the same id, the server
    /// keeps the one that it hears.
    #[serde(default)]
    pub process: Option<u64>,
}

/// A peer's id and the token that was agreed with it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerToken {
    /// Which peer, or any that the token fits.
    pub peer: PeerSelector,
    /// 64 characters of standard base64.
    pub token: String,
}

impl fmt::Debug for PeerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerToken").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Which peer a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerSelector {
    /// Whichever peer has registered this worker with this token.
    Any,
    /// This organization.
    Organization(OrganizationId),
}

/// What a worker can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The kinds of jobs it takes.
    pub kinds: Vec<JobKind>,
    /// The systems it builds for; `builtin` goes without saying.
    pub systems: Vec<String>,
    /// The system features its Nix has.
    pub features: Vec<String>,
    /// How many builds it runs at once.
    pub build_slots: u32,
    /// Processor cores.
    pub cores: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Whether it keeps the store of each peer apart; without that it serves one peer only.
    #[serde(default)]
    pub separates_peers: bool,
    /// The version of its Nix, for people.
    #[serde(default)]
    pub nix_version: String,
    /// The public keys, `name:base64`, of the secret keys that it signs with; without any it signs nothing.
    #[serde(default)]
    pub signing_keys: Vec<String>,
}

/// How busy a worker's machine is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The load average of the last minute.
    pub load_average: f32,
    /// Free memory in bytes.
    pub memory_free_bytes: u64,
    /// Free bytes where the store is.
    pub disk_free_bytes: u64,
    /// What it has so little of that it is to be given nothing new.
    #[serde(default)]
    pub shortage: Option<Shortage>,
}

/// The handshake succeeded.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that both speak from now on.
    pub version: u32,
    /// Proves the session on the HTTP routes of [`transfer`](crate::transfer).
    pub session_token: String,
    /// The peers that this session serves.
    pub peers: Vec<AcceptedPeer>,
    /// Peers whose token was right, but which this session cannot serve, and why. Peers that were not proven are not named.
    pub refused: Vec<RefusedPeer>,
    /// How long the server keeps a job for a worker that is not connected, in seconds.
    pub lease_secs: u64,
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome")
            .field("version", &self.version)
            .field("peers", &self.peers)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

/// A peer that a session serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedPeer {
    /// The organization.
    pub id: OrganizationId,
    /// Its name, for people.
    pub name: String,
}

/// A proven peer that a session does not serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPeer {
    /// The organization.
    pub id: OrganizationId,
    /// Why, for a person.
    pub reason: String,
}

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// No version is spoken by both.
    Version,
    /// No token was right.
    Unauthorized,
    /// The first message was no `hello`, or was malformed.
    Malformed,
    /// The server is going down or stands by.
    Unavailable,
}
