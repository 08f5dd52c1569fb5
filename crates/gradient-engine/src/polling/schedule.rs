//! When each project's turn is; knows no clock and no repository.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use gradient_domain::{Moment, ProjectId, RepositoryUrl};

use crate::Project;

/// How often the wait is doubled while a repository cannot be reached.
const DOUBLINGS: u32 = 6;

/// Failures do not make the wait longer than this, unless the project asks for more.
const LONGEST: Duration = Duration::from_hours(1);

/// The projects that are looked at by themselves.
#[derive(Debug, Default)]
pub(super) struct Schedule(HashMap<ProjectId, Turn>);

#[derive(Debug)]
struct Turn {
    repository: RepositoryUrl,
    branch: Option<String>,
    /// Whether somebody is looking right now.
    looking: bool,
    /// Looks without success since the last one with.
    failures: u32,
    /// A look that came before this project was as it is now says nothing of it.
    stale: bool,
    /// Share of the interval, in thousandths, that keeps projects apart.
    jitter: u32,
}

/// What a look that ended changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As before.
    Same,
    /// The first failure after a success.
    Failing,
    /// The first success after a failure.
    Recovered,
}

impl Schedule {
    /// Forgets projects that are not polled any more, and takes up new ones.
    pub(super) fn update(&mut self, polled: &[Project]) {
        let known: HashSet<ProjectId> = polled.iter().map(|project| project.id).collect();
        self.0.retain(|id, turn| turn.looking || known.contains(id));
        for project in polled {
            let turn = self.0.entry(project.id).or_insert_with(|| Turn::new(project, false));
            if turn.repository != project.repository || turn.branch != project.branch {
                *turn = Turn { looking: turn.looking, ..Turn::new(project, true) };
            }
        }
    }

    /// Whether it is this project's turn.
    pub(super) fn is_due(&self, project: &Project, now: Moment) -> bool {
        let Some(turn) = self.0.get(&project.id) else { return false };
        let waited = |last| now >= last && now.since(last) >= turn.wait(project.poll_interval_secs);
        // A last look in the future is the mark of a clock that was set back.
        let due = project.last_check_at.is_none_or(|last| waited(last) || last > now);
        !turn.looking && (turn.stale || due)
    }

    /// Somebody looks at the project from now on.
    pub(super) fn begin(&mut self, project: ProjectId) {
        if let Some(turn) = self.0.get_mut(&project) {
            (turn.looking, turn.stale) = (true, false);
        }
    }

    /// The look has ended. `jitter` (up to 100) is the share of the interval, in thousandths, that the next one comes later.
    pub(super) fn end(&mut self, project: ProjectId, reached: Result<(), ()>, jitter: u32) -> Outcome {
        let Some(turn) = self.0.get_mut(&project) else { return Outcome::Same };
        let before = turn.failures;
        turn.looking = false;
        turn.jitter = jitter;
        turn.failures = if reached.is_ok() { 0 } else { before.saturating_add(1) };
        match (before, turn.failures) {
            (0, 1..) => Outcome::Failing,
            (1.., 0) => Outcome::Recovered,
            _ => Outcome::Same,
        }
    }
}

impl Turn {
    fn new(project: &Project, stale: bool) -> Self {
        let (repository, branch) = (project.repository.clone(), project.branch.clone());
        Self { repository, branch, looking: false, failures: 0, stale, jitter: 0 }
    }

    /// From one look to the next.
    fn wait(&self, interval_secs: i32) -> Duration {
        let interval = Duration::from_secs(u64::try_from(interval_secs).unwrap_or(0));
        let backed_off = interval * (1 << self.failures.min(DOUBLINGS));
        backed_off.min(LONGEST.max(interval)) + interval * self.jitter / 1000
    }
}

#[cfg(test)]
mod tests;
