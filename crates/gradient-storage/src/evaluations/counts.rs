use diesel::prelude::*;
use gradient_domain::BuildStatus;

use crate::schema::evaluation_counters;

/// How many builds an evaluation needs, by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = evaluation_counters)]
pub struct BuildCounts {
    /// Waiting.
    #[diesel(column_name = builds_queued)]
    pub queued: i32,
    /// Running.
    #[diesel(column_name = builds_building)]
    pub building: i32,
    /// Built.
    #[diesel(column_name = builds_completed)]
    pub completed: i32,
    /// Found upstream.
    #[diesel(column_name = builds_substituted)]
    pub substituted: i32,
    /// Failed by themselves.
    #[diesel(column_name = builds_failed)]
    pub failed: i32,
    /// Ended by somebody.
    #[diesel(column_name = builds_aborted)]
    pub aborted: i32,
    /// Failed because of others.
    #[diesel(column_name = builds_dependency_failed)]
    pub dependency_failed: i32,
}

impl BuildCounts {
    /// How many have this status.
    pub fn of(&self, status: BuildStatus) -> i32 {
        match status {
            BuildStatus::Queued => self.queued,
            BuildStatus::Building => self.building,
            BuildStatus::Completed => self.completed,
            BuildStatus::Substituted => self.substituted,
            BuildStatus::Failed => self.failed,
            BuildStatus::Aborted => self.aborted,
            BuildStatus::DependencyFailed => self.dependency_failed,
        }
    }

    /// How many there are.
    pub fn total(&self) -> i32 {
        BuildStatus::ALL.iter().map(|status| self.of(*status)).sum()
    }
}

/// How many entry points an evaluation has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = evaluation_counters)]
pub struct EntryPointCounts {
    /// All that are known.
    #[diesel(column_name = entry_points_total)]
    pub total: i32,
    /// Those whose build succeeded.
    #[diesel(column_name = entry_points_completed)]
    pub completed: i32,
    /// Those that could not be evaluated, or whose build did not succeed.
    #[diesel(column_name = entry_points_failed)]
    pub failed: i32,
}
