//! When each project's turn is; knows no clock and no repository.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    time::Duration,
};

use gradient_domain::{Moment, OrganizationId, ProjectId, RepositoryUrl};

use crate::Project;

/// How often the wait is doubled while a repository cannot be reached.
const DOUBLINGS: u32 = 6;

/// Failures do not make the wait longer than this, unless the project asks for more.
const LONGEST: Duration = Duration::from_hours(1);

/// Projects of one organization that are looked at at the same time: its repositories may be slow to answer.
const LOOKING_EACH: usize = 2;

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

/// The projects of one organization.
#[derive(Debug, Default)]
struct Line {
    /// How many are looked at.
    looking: usize,
    /// When a look at any of them began last.
    last_look: Option<Moment>,
    /// Those that are due; who has waited longest is the last.
    due: Vec<Project>,
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

    /// Whose turn it is now, at most so many. The organizations take turns, so that none keeps others waiting by many projects, by
    /// short intervals or by repositories that do not answer; within one, who has waited longest comes first.
    pub(super) fn turns(&self, mut polled: Vec<Project>, now: Moment, free: usize) -> Vec<Project> {
        polled.sort_by_key(|project| Reverse(project.last_check_at));
        let mut lines: HashMap<OrganizationId, Line> = HashMap::new();
        for project in polled {
            let line = lines.entry(project.organization).or_default();
            line.last_look = line.last_look.max(project.last_check_at);
            line.looking += usize::from(self.0.get(&project.id).is_some_and(|turn| turn.looking));
            if self.is_due(&project, now) {
                line.due.push(project);
            }
        }
        let next = || {
            let open = lines.values_mut().filter(|line| line.looking < LOOKING_EACH && !line.due.is_empty());
            let line = open.min_by_key(|line| (line.looking, line.last_look))?;
            line.looking += 1;
            line.due.pop()
        };
        std::iter::from_fn(next).take(free).collect()
    }

    /// Whether it is this project's turn.
    fn is_due(&self, project: &Project, now: Moment) -> bool {
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
