//! The HTTP routes beside the socket, where bulk bytes travel with backpressure. Each request carries
//! `Authorization: Bearer <session token>` from [`Welcome`](crate::Welcome).

use gradient_domain::{Epoch, Job};
use gradient_nix::StorePath;
use serde::{Deserialize, Serialize};

use crate::InputPath;

/// Declares the content address of an uploaded source, in Nix's notation (`fixed:r:sha256:…`, `text:sha256:…`).
pub const CONTENT_ADDRESS_HEADER: &str = "gradient-content-address";

/// Declares the references of an uploaded source: basenames, separated by spaces.
pub const REFERENCES_HEADER: &str = "gradient-references";

/// Where the zstd-compressed NAR of a path is read (`GET`, out of the scope of the job's organization) and uploaded (`PUT`; the
/// answer is a success once it is verified and stored).
pub fn job_path(job: Job, epoch: Epoch, path: &StorePath) -> String {
    format!("/proto/jobs/{job}/{epoch}/paths/{path}")
}

/// Where the same NAR comes in pieces, for bodies that a proxy on the way would cut. `PUT` with `?offset=<n>` sends what is from there
/// on, and `HEAD` asks how much has come; both are answered with [`OFFSET_HEADER`]. A piece at 0 begins anew; one that begins elsewhere
/// than where the last one ended is refused with [`WRONG_OFFSET`].
pub fn job_pieces(job: Job, epoch: Epoch, path: &StorePath) -> String {
    format!("/proto/jobs/{job}/{epoch}/pieces/{path}")
}

/// Where the pieces are made a NAR: `POST`, answered as if it had come at once.
pub fn job_pieces_finish(job: Job, epoch: Epoch, path: &StorePath) -> String {
    format!("{}/finish", job_pieces(job, epoch, path))
}

/// How many bytes of a NAR have come.
pub const OFFSET_HEADER: &str = "upload-offset";

/// The code of the refusal of what has more bytes than are taken.
pub const TOO_LARGE: &str = "too_large";

/// The code of the refusal of a piece that does not fit.
pub const WRONG_OFFSET: &str = "wrong_offset";

/// Where the task of a job is read (`GET`) that was too large for its assignment, as [`encode_task`](crate::encode_task) writes it.
pub fn job_task(job: Job, epoch: Epoch) -> String {
    format!("/proto/jobs/{job}/{epoch}/task")
}

/// Where a worker asks which paths the scope of the job's organization lacks. `POST` with [`Paths`], answered with [`Missing`].
pub fn job_missing(job: Job, epoch: Epoch) -> String {
    format!("/proto/jobs/{job}/{epoch}/missing")
}

/// Where the worker of an evaluation asks which derivations the organization has, with all that they need: these need not be sent. `POST`
/// with [`Paths`], answered with [`Known`]. A server that does not know the route (404) has to be sent all.
pub fn job_known(job: Job, epoch: Epoch) -> String {
    format!("/proto/jobs/{job}/{epoch}/known")
}

/// Where the worker of an evaluation asks how to get paths that the evaluation imports from. `POST` with [`Paths`], answered with
/// [`Inputs`]. A server that does not know the route (404) gives none.
pub fn job_inputs(job: Job, epoch: Epoch) -> String {
    format!("/proto/jobs/{job}/{epoch}/inputs")
}

/// Paths to ask about, at most 10,000.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// The paths.
    pub paths: Vec<StorePath>,
}

/// The paths asked about that are not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// In the order they were asked for.
    pub missing: Vec<StorePath>,
}

/// The derivations asked about that are there. They stay for as long as an evaluation may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// In the order they were asked for.
    pub known: Vec<StorePath>,
}

/// What there is of the paths asked about: those that can be had with all that they refer to, and that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// References come before what refers to them.
    pub inputs: Vec<InputPath>,
}

/// Why a transfer was refused: the body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A stable slug, for programs.
    pub code: String,
    /// What happened, to which path.
    pub message: String,
}
