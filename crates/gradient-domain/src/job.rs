//! What a worker is asked to do, and the token that says whose turn it is.

use std::{fmt, num::TryFromIntError, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::{BuildId, EvaluationId, Id, vocabulary::vocabulary};

vocabulary! {
    /// The kinds of work, which are also the capabilities a worker may have.
    pub enum JobKind: "job kind" {
        /// Bring a commit's source into the store.
        Fetch = "fetch",
        /// Turn a flake into derivations.
        Evaluate = "evaluate",
        /// Build one derivation.
        Build = "build",
    }
}

/// One piece of work; there is at most one owner of it at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Job {
    /// Fetch the source of an evaluation.
    Fetch(EvaluationId),
    /// Evaluate the flake of an evaluation.
    Evaluate(EvaluationId),
    /// Build a derivation.
    Build(BuildId),
}

/// A text that names no job.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` names no job: expected `fetch/<id>`, `evaluate/<id>` or `build/<id>`")]
pub struct ParseJobError(String);

impl Job {
    /// Of which kind it is.
    pub const fn kind(self) -> JobKind {
        match self {
            Self::Fetch(_) => JobKind::Fetch,
            Self::Evaluate(_) => JobKind::Evaluate,
            Self::Build(_) => JobKind::Build,
        }
    }

    /// The UUID of the evaluation or build it is for.
    pub const fn uuid(self) -> Uuid {
        match self {
            Self::Fetch(id) | Self::Evaluate(id) => id.uuid(),
            Self::Build(id) => id.uuid(),
        }
    }

    /// The job of this kind for the evaluation or build with this UUID.
    pub const fn from_parts(kind: JobKind, uuid: Uuid) -> Self {
        match kind {
            JobKind::Fetch => Self::Fetch(Id::from_uuid(uuid)),
            JobKind::Evaluate => Self::Evaluate(Id::from_uuid(uuid)),
            JobKind::Build => Self::Build(Id::from_uuid(uuid)),
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.uuid())
    }
}

impl FromStr for Job {
    type Err = ParseJobError;

    fn from_str(text: &str) -> Result<Self, ParseJobError> {
        let error = || ParseJobError(text.chars().take(100).collect());
        let (kind, uuid) = text.split_once('/').ok_or_else(error)?;
        Ok(Self::from_parts(kind.parse().map_err(|_| error())?, Uuid::try_parse(uuid).map_err(|_| error())?))
    }
}

/// Which attempt at a job this is, and at the same time the token that fences late reports off: a report with another epoch
/// than the job's newest is not the owner's. The first assignment has epoch 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "sql", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
#[cfg_attr(feature = "sql", diesel(sql_type = diesel::sql_types::Integer))]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// Before any assignment.
    pub const NONE: Self = Self(0);

    /// The epoch of the next assignment.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// As the databases keep it.
impl TryFrom<Epoch> for i32 {
    type Error = TryFromIntError;

    fn try_from(epoch: Epoch) -> Result<Self, TryFromIntError> {
        epoch.0.try_into()
    }
}

impl TryFrom<i32> for Epoch {
    type Error = TryFromIntError;

    fn try_from(number: i32) -> Result<Self, TryFromIntError> {
        number.try_into().map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
