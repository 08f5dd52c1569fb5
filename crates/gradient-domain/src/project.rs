//! What a project and a subscription can be set to.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::vocabulary::vocabulary;

vocabulary! {
    /// What a new evaluation does when an older one of the project still runs.
    pub enum Concurrency: "concurrency" {
        /// Ends the older one; builds that already run finish and are kept.
        SoftAbort = "soft_abort",
        /// Ends the older one and its running builds.
        HardAbort = "hard_abort",
        /// The new one is refused.
        Skip = "skip",
        /// Both run.
        All = "all",
    }
}

vocabulary! {
    /// What of an evaluation the caches get.
    pub enum Publish: "publish setting" {
        /// What the entry points need at run time.
        Runtime = "runtime",
        /// All outputs, and the source.
        All = "all",
    }
}

vocabulary! {
    /// What a subscription is for.
    pub enum SubscriptionMode: "subscription mode" {
        /// The organization's outputs go to the cache, and its members read from it.
        ReadWrite = "read_write",
        /// Members read.
        ReadOnly = "read_only",
        /// Outputs go there.
        WriteOnly = "write_only",
    }
}

impl SubscriptionMode {
    /// Whether outputs are published to the cache.
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::ReadWrite | Self::WriteOnly)
    }

    /// Whether members may read the cache because of it.
    pub const fn is_readable(self) -> bool {
        matches!(self, Self::ReadWrite | Self::ReadOnly)
    }
}

/// A project's priority: -10 to 10, 0 where nothing is said, higher runs first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "sql", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
#[cfg_attr(feature = "sql", diesel(sql_type = diesel::sql_types::Integer))]
#[serde(try_from = "i32", into = "i32")]
pub struct Priority(i8);

/// A priority out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} is no priority: expected a whole number from -10 to 10")]
pub struct PriorityError(i32);

impl TryFrom<i32> for Priority {
    type Error = PriorityError;

    fn try_from(value: i32) -> Result<Self, PriorityError> {
        i8::try_from(value).ok().filter(|p| (-10..=10).contains(p)).map(Self).ok_or(PriorityError(value))
    }
}

impl From<Priority> for i32 {
    fn from(priority: Priority) -> Self {
        Self::from(priority.0)
    }
}
