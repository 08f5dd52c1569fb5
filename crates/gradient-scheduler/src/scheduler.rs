//! The state machine.

use gradient_domain::{BuildId, BuildWait, EvaluationId, EvaluationWait, Moment};

use crate::{Decision, Event, SchedulerSettings, Tick, WorkerView};

/// The build graph of all unfinished evaluations, the workers, and who owns which job.
#[derive(Debug)]
pub struct Scheduler {
    settings: SchedulerSettings,
}

impl Scheduler {
    /// A scheduler that knows of nothing yet.
    pub fn new(settings: SchedulerSettings) -> Self {
        Self { settings }
    }

    /// Takes in one event and says what follows from it.
    pub fn apply(&mut self, event: Event, now: Tick) -> Vec<Decision> {
        self.apply_all([event], now)
    }

    /// Takes in events that belong together, such as all that a restart restores, and decides once, after the last.
    pub fn apply_all(&mut self, events: impl IntoIterator<Item = Event>, now: Tick) -> Vec<Decision> {
        let _ = (events.into_iter().count(), now, &self.settings);
        Vec::new()
    }

    /// When [`Event::Tick`] is due, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Tick> {
        None
    }

    /// Why a build is queued; `None` when it is not, or is not known.
    pub fn explain_build(&self, build: BuildId, now: Moment, tick: Tick) -> Option<BuildWait> {
        let _ = (build, now, tick);
        None
    }

    /// Why an evaluation is waiting; `None` when it is not, or is not known.
    pub fn explain_evaluation(&self, evaluation: EvaluationId) -> Option<EvaluationWait> {
        let _ = evaluation;
        None
    }

    /// The connected workers, by id.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> {
        std::iter::empty()
    }
}
