//! What an evaluation may use of its machine, and for how long.

use std::{num::NonZero, thread::available_parallelism, time::Duration};

use crate::session::memory_bytes;

/// What evaluations may use. A worker does one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluationLimits {
    /// How many evaluator processes run at once.
    pub processes: usize,
    /// How much memory each may have, in bytes, swapped out or not.
    pub memory_bytes: Option<u64>,
    /// How long an evaluation may take in all, [`MAX_TIME`](Self::MAX_TIME) at most.
    pub time: Duration,
    /// How long one attribute may take, with what is built to evaluate it.
    pub attribute_time: Duration,
}

impl EvaluationLimits {
    /// The longest that an evaluation may take: servers keep for little longer what it has found and nothing refers to yet.
    pub const MAX_TIME: Duration = Duration::from_hours(4);

    /// What suits this machine: as many processes as it has cores, but no more than one for each 4 GiB of its memory, nor than 4, as
    /// each evaluates once more what its attributes share with those of others; and three quarters of its memory for all of them.
    pub fn of_this_machine() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let room = usize::try_from(memory_bytes() >> 32).unwrap_or(usize::MAX);
        let limits = Self { processes: 1, memory_bytes: None, time: Self::MAX_TIME, attribute_time: Duration::from_hours(1) };
        limits.with_processes(cores.min(room).clamp(1, 4))
    }

    /// The same for so many processes, which share the memory.
    #[must_use]
    pub fn with_processes(self, processes: usize) -> Self {
        let share = memory_bytes() / 4 * 3 / u64::try_from(processes.max(1)).unwrap_or(u64::MAX);
        Self { processes, memory_bytes: (share > 0).then_some(share), ..self }
    }
}

/// A limit as people say it.
pub(super) fn in_words(time: Duration) -> String {
    let (seconds, minutes) = (time.as_secs(), time.as_secs() / 60);
    match (seconds % 60, minutes % 60) {
        (0, 0) if minutes > 60 => format!("{} hours", minutes / 60),
        (0, _) if minutes > 1 => format!("{minutes} minutes"),
        _ => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_share_the_memory() {
        let limits = EvaluationLimits::of_this_machine();
        let all = |limits: EvaluationLimits| limits.memory_bytes.unwrap() * u64::try_from(limits.processes).unwrap();
        for processes in 1..=8 {
            let most = all(limits.with_processes(processes));
            assert!(most <= memory_bytes() / 4 * 3 && most > memory_bytes() / 2, "{processes} processes may have {most} bytes");
        }
    }

    #[test]
    fn limits_have_words() {
        let words = [4 * 3600, 3600, 90 * 60, 61, 60, 2].map(|seconds| in_words(Duration::from_secs(seconds)));
        assert_eq!(words, ["4 hours", "60 minutes", "90 minutes", "61 seconds", "60 seconds", "2 seconds"]);
    }
}
