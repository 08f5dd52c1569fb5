//! An unfinished evaluation, with the counts that its status follows from.

use std::collections::{BTreeMap, BTreeSet};

use gradient_domain::{EvaluationId, EvaluationStatus, EvaluationWait, FailureKind, OrganizationId, Priority};

use crate::{
    Stage, Tick,
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
    /// The unfinished builds, by class.
    pub(crate) classes: BTreeMap<ClassSlot, Counts>,
    /// What was left to do when it was last looked at, if that is remembered.
    pub(crate) remainder: Option<Remainder>,
}

/// Builds of one class in one evaluation that have not ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) blocked: u32,
    pub(crate) ready: u32,
    pub(crate) running: u32,
}

impl Counts {
    /// Whether there are some that do not run.
    pub(crate) const fn are_idle(&self) -> bool {
        self.blocked > 0 || self.ready > 0
    }
}

/// The evaluations that need one build. Nearly always there are few, and then they are where the build is.
#[derive(Debug)]
pub(crate) enum Needing {
    Few([Option<EvaluationSlot>; 2]),
    Many(Box<[EvaluationSlot]>),
}

impl Needing {
    pub(crate) const fn nobody() -> Self {
        Self::Few([None; 2])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = EvaluationSlot> {
        let (few, many): (&[_], &[_]) = match self {
            Self::Few(few) => (few, &[]),
            Self::Many(many) => (&[], many),
        };
        few.iter().flatten().chain(many).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// One more, which is not among them yet.
    pub(crate) fn add(&mut self, evaluation: EvaluationSlot) {
        match self {
            Self::Few(few) => match few.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = Some(evaluation),
                None => *self = Self::Many(self.iter().chain([evaluation]).collect()),
            },
            Self::Many(many) => *many = many.iter().copied().chain([evaluation]).collect(),
        }
    }

    pub(crate) fn remove(&mut self, evaluation: EvaluationSlot) {
        match self {
            Self::Few(few) => {
                for place in few.iter_mut().filter(|place| **place == Some(evaluation)) {
                    *place = None;
                }
            }
            Self::Many(many) => *many = many.iter().copied().filter(|&other| other != evaluation).collect(),
        }
    }
}

/// What is left to do of an evaluation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remainder {
    /// When that was so.
    pub(crate) at: Tick,
    /// If builds take as long as expected, are soon done, or late; `None` when nothing is known of any.
    pub(crate) rests: Option<[Rest; 3]>,
}

/// What is left to do of something, in milliseconds.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Rest {
    /// On the longest way.
    pub(crate) path: u64,
    /// On all slots together.
    pub(crate) work: u64,
}

impl Evaluation {
    /// Counts a build in.
    pub(crate) fn enroll(&mut self, phase: Phase, class: ClassSlot) {
        match phase {
            Phase::Blocked => self.classes.entry(class).or_default().blocked += 1,
            Phase::Ready | Phase::Delayed { .. } => self.classes.entry(class).or_default().ready += 1,
            Phase::Running { .. } => {
                self.classes.entry(class).or_default().running += 1;
                self.running += 1;
            }
            Phase::Ended { .. } => return,
        }
        self.unfinished += 1;
    }

    /// Takes back what [`Self::enroll`] counted.
    pub(crate) fn withdraw(&mut self, phase: Phase, class: ClassSlot) {
        match phase {
            Phase::Blocked => self.withdraw_one(class, |counts| counts.blocked -= 1),
            Phase::Ready | Phase::Delayed { .. } => self.withdraw_one(class, |counts| counts.ready -= 1),
            Phase::Running { .. } => {
                self.withdraw_one(class, |counts| counts.running -= 1);
                self.running -= 1;
            }
            Phase::Ended { .. } => return,
        }
        self.unfinished -= 1;
    }

    fn withdraw_one(&mut self, class: ClassSlot, take: impl FnOnce(&mut Counts)) {
        if let Some(counts) = self.classes.get_mut(&class) {
            take(counts);
            if *counts == Counts::default() {
                self.classes.remove(&class);
            }
        }
    }
}
