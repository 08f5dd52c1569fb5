//! Every message between server and worker, how it is framed, and which versions there are.
//!
//! One WebSocket frame carries one message: a MessagePack map with a single key, the message's type, whose value is a map of
//! its fields. Unknown fields are ignored; an unknown type is told apart from a malformed frame, so that an older peer can
//! answer "unsupported" and keep the session. Ids, store paths and hashes travel as text, so a frame can be read in a dump.
//! Bulk bytes (NARs) never travel here, but over HTTP beside the socket: see [`transfer`]. The whole conversation is told in
//! `docs/worker-protocol.md`.
//!
//! ```
//! use gradient_protocol::{DecodeError, ToWorker, decode, encode};
//!
//! let frame = encode(&ToWorker::Drain {})?;
//! assert_eq!(decode::<ToWorker>(&frame), Ok(ToWorker::Drain {}));
//!
//! let newer = [0x81, 0xa3, b'n', b'e', b'w', 0x80];
//! assert_eq!(decode::<ToWorker>(&newer), Err(DecodeError::Unsupported { message_type: "new".into() }));
//! # Ok::<(), gradient_protocol::EncodeError>(())
//! ```

mod frame;
mod handshake;
mod report;
mod task;
pub mod transfer;

use gradient_domain::{Epoch, Job};
use serde::{Deserialize, Serialize};

pub use frame::{
    DecodeError, EncodeError, MAX_FRAME_BYTES, MAX_HELLO_BYTES, MAX_TASK_BYTES, Message, decode, decode_task, encode,
    encode_task, fits_frame,
};
pub use handshake::{
    AcceptedPeer, Capabilities, Hello, Load, MAX_SIGNING_KEYS, PeerSelector, PeerToken, RefusalCode, RefusedPeer, VERSIONS,
    VersionRange, Welcome,
};
pub use report::{BuiltOutput, DerivationFile, EntryPoint, EvaluationMessage, Report, ReportNumber};
pub use task::{BuildLimits, BuildTask, EvaluateTask, FetchTask, GitAccess, InputPath, Source, Task, UpstreamNar};

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToServer {
    /// The first message of a connection.
    Hello(Hello),
    /// What the worker can do has changed.
    Capabilities(Capabilities),
    /// Something happened to a job. Sent again, with the same number, until it is acknowledged.
    Report {
        /// Counts up within the worker process; the key of the acknowledgement.
        number: ReportNumber,
        /// The job it is about.
        job: Job,
        /// The assignment it belongs to.
        epoch: Epoch,
        /// What happened.
        report: Report,
    },
    /// Bytes of a job's log. Sent again from the last acknowledged offset after a reconnect.
    Log {
        /// The job.
        job: Job,
        /// The assignment.
        epoch: Epoch,
        /// Where `bytes` begin in the log.
        offset: u64,
        /// At most 256 KiB.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// How busy the machine is.
    Load(Load),
    /// The worker takes nothing new and goes once its jobs have ended.
    Draining {},
    /// The answer to [`ToWorker::Sign`].
    Signed {
        /// Which request it answers.
        number: u64,
        /// A signature, `name:base64`, for each of the texts in their order; or why the worker does not sign, for a person.
        signatures: Result<Vec<String>, String>,
    },
    /// The last message from the server was of a type that this worker does not know.
    Unsupported {
        /// That type.
        message_type: String,
    },
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToWorker {
    /// The handshake succeeded for at least one peer.
    Welcome(Welcome),
    /// The handshake failed; the connection ends.
    Refused {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for a person.
        message: String,
    },
    /// Do this job.
    Assign {
        /// The job.
        job: Job,
        /// The assignment's number, to be sent with all that is said of it.
        epoch: Epoch,
        /// Which peer it is for.
        peer: gradient_domain::OrganizationId,
        /// What to do.
        task: Box<Task>,
    },
    /// Stop this job, and say that it has stopped; nothing else is wanted of it.
    Cancel {
        /// The job.
        job: Job,
        /// The assignment that ends.
        epoch: Epoch,
        /// Why, for a person.
        reason: String,
    },
    /// Sign these texts. Only sent to a worker that said that it has the key. Unlike a job it is no assignment: a request that is not
    /// answered is made again, of whichever worker there is then.
    Sign {
        /// Which request it is, to be sent with the answer.
        number: u64,
        /// The public key, `name:base64`, of the key to sign with.
        key: String,
        /// What to sign: of store paths, what Nix calls their fingerprints.
        fingerprints: Vec<String>,
    },
    /// Finish what runs, take nothing new.
    Drain {},
    /// The report is durable, or is of no interest any more; it need not be sent again.
    Acknowledged {
        /// Which report.
        number: ReportNumber,
    },
    /// The log is durable up to here.
    LogStored {
        /// The job.
        job: Job,
        /// The assignment.
        epoch: Epoch,
        /// Everything below this offset is stored; send on from here.
        offset: u64,
    },
    /// The last message from the worker was of a type that this server does not know.
    Unsupported {
        /// That type.
        message_type: String,
    },
}
