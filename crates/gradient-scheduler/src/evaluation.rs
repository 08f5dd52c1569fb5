//! An unfinished evaluation, with the counts that its status follows from.

use std::collections::{BTreeMap, BTreeSet};

use gradient_domain::{EvaluationId, EvaluationStatus, EvaluationWait, FailureKind, OrganizationId, Priority};

use crate::{
    Stage,
    class::ClassSlot,
    node::{NodeSlot, Phase},
    slab::Slot,
};

pub(crate) type EvaluationSlot = Slot<Evaluation>;

#[derive(Debug)]
pub(crate) struct Evaluation {
    pub(crate) id: EvaluationId,
    pub(crate) organization: OrganizationId,
    pub(crate) priority: Priority,
    /// What was decided last.
    pub(crate) status: EvaluationStatus,
    pub(crate) waiting: Option<EvaluationWait>,
    pub(crate) stage: Stage,
    /// The job of the stage, while it has not ended.
    pub(crate) job: Option<NodeSlot>,
    pub(crate) sealed: bool,
    pub(crate) had_errors: bool,
    pub(crate) job_failure: Option<FailureKind>,
    pub(crate) members: Vec<NodeSlot>,
    pub(crate) entry_points: BTreeSet<NodeSlot>,
    pub(crate) unfinished: u32,
    pub(crate) running: u32,
    /// The unfinished builds that do not run, by class.
    pub(crate) classes: BTreeMap<ClassSlot, Counts>,
}

/// Builds of one class in one evaluation that do not run and have not ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) blocked: u32,
    pub(crate) ready: u32,
}

impl Evaluation {
    /// Counts a build in.
    pub(crate) fn enroll(&mut self, phase: Phase, class: ClassSlot) {
        match phase {
            Phase::Blocked => self.classes.entry(class).or_default().blocked += 1,
            Phase::Ready | Phase::Delayed { .. } => self.classes.entry(class).or_default().ready += 1,
            Phase::Running { .. } => self.running += 1,
            Phase::Ended { .. } => return,
        }
        self.unfinished += 1;
    }

    /// Takes back what [`Self::enroll`] counted.
    pub(crate) fn withdraw(&mut self, phase: Phase, class: ClassSlot) {
        match phase {
            Phase::Blocked => self.withdraw_idle(class, |counts| counts.blocked -= 1),
            Phase::Ready | Phase::Delayed { .. } => self.withdraw_idle(class, |counts| counts.ready -= 1),
            Phase::Running { .. } => self.running -= 1,
            Phase::Ended { .. } => return,
        }
        self.unfinished -= 1;
    }

    fn withdraw_idle(&mut self, class: ClassSlot, take: impl FnOnce(&mut Counts)) {
        if let Some(counts) = self.classes.get_mut(&class) {
            take(counts);
            if *counts == Counts::default() {
                self.classes.remove(&class);
            }
        }
    }
}
