//! What an operator can choose.

use std::time::Duration;

/// How long the scheduler waits and how often it tries again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerSettings {
    /// How long a job stays with a worker that lost its connection.
    pub lease: Duration,
    /// How many assignments a job gets before a failure that trying again could have helped counts as its end. At least 1.
    pub max_attempts: u32,
    /// The wait before the second attempt after a transient failure; it doubles with each further one.
    pub retry_after: Duration,
    /// The longest wait between two attempts.
    pub retry_after_max: Duration,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_mins(5),
            max_attempts: 5,
            retry_after: Duration::from_secs(2),
            retry_after_max: Duration::from_mins(2),
        }
    }
}

impl SchedulerSettings {
    /// The wait after attempt number `attempt` failed transiently.
    pub(crate) fn back_off(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(20);
        self.retry_after.saturating_mul(1 << doublings).min(self.retry_after_max)
    }
}
