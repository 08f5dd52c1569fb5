use std::{io, net::IpAddr, time::Duration};

use thiserror::Error;

/// Why a repository did not answer with a commit.
#[derive(Debug, Error)]
pub enum ForgeError {
    /// The host is on this machine or on a private network.
    #[error("the host {host} is at {address}, which is not a public address")]
    HostRefused {
        /// The host in the URL.
        host: String,
        /// The address that does not do.
        address: IpAddr,
    },
    /// The repository is on the server's own disk.
    #[error("repositories on the server's own disk are not allowed; whoever runs it may set GRADIENT_ALLOW_LOCAL_REPOSITORIES")]
    LocalRefused,
    /// No branch can have the name.
    #[error("{branch:?} cannot be the name of a branch")]
    InvalidBranch {
        /// The name, shortened.
        branch: String,
    },
    /// A commit is named by 40 hexadecimal digits.
    #[error("a commit is named by 40 hexadecimal digits, not by {commit:?}")]
    InvalidCommit {
        /// The name, shortened.
        commit: String,
    },
    /// The repository answered, without the branch.
    #[error("the repository has no branch {branch:?}")]
    BranchMissing {
        /// The branch that was asked for.
        branch: String,
    },
    /// The repository answered, and has no head.
    #[error("the repository has no commit at its head")]
    Empty,
    /// The repository answered, without the commit.
    #[error("the repository has no commit {commit}")]
    CommitMissing {
        /// The commit that was asked for.
        commit: String,
    },
    /// The repository could not be reached.
    #[error("{words}")]
    Unreachable {
        /// What git said, without credentials, at most 1000 characters.
        words: String,
    },
    /// The host shows another key than the one that was seen first.
    #[error(
        "the key of the host {host} is not the one that it showed first: either the host was set up anew, or somebody is in \
         between; a new SSH key for the organization makes it forget the host keys it knows"
    )]
    HostKeyChanged {
        /// The host in the URL.
        host: String,
    },
    /// There was no answer in time.
    #[error("the repository did not answer within {} seconds", after.as_secs_f64())]
    TimedOut {
        /// The time it had.
        after: Duration,
    },
    /// Git could not be run; the repository is not to blame.
    #[error("git cannot be run")]
    Git(#[source] io::Error),
}
