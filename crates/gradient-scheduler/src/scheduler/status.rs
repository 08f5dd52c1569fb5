//! Where evaluations stand, as it follows from their jobs and builds.

use std::collections::BTreeMap;

use gradient_domain::{EvaluationStatus, EvaluationWait, Shortage, UnmetWorkers};

use super::Scheduler;
use crate::{
    Decision, Stage,
    class::{ClassSlot, Need},
    evaluation::{Evaluation, EvaluationSlot},
    node::NodeSlot,
    worker::Session,
};

/// How many kinds of missing workers are named.
const UNMET_MAX: usize = 20;

/// Why a worker that fits is given nothing; what passes sooner is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hindrance {
    Draining,
    Shortage(Shortage),
}

impl From<Hindrance> for EvaluationWait {
    fn from(hindrance: Hindrance) -> Self {
        match hindrance {
            Hindrance::Draining => Self::Draining,
            Hindrance::Shortage(of) => Self::Shortage { of },
        }
    }
}

impl Scheduler {
    /// Decides about every evaluation whose status may have changed, and lets go of those that end.
    pub(super) fn move_evaluations(&mut self) {
        while let Some(slot) = self.touched.pop_first() {
            let Some(evaluation) = self.evaluations.get(slot) else { continue };
            let (status, waiting) = self.standing(evaluation);
            if status != evaluation.status || waiting != evaluation.waiting {
                self.move_evaluation(slot, status, waiting);
            }
            if status.is_final() {
                let unneeded = self.remove_evaluation(slot);
                self.forget_unneeded(unneeded);
            }
        }
    }

    fn move_evaluation(&mut self, slot: EvaluationSlot, status: EvaluationStatus, waiting: Option<EvaluationWait>) {
        let evaluation = &mut self.evaluations[slot];
        let id = evaluation.id;
        let failure = evaluation.job_failure.filter(|_| status == EvaluationStatus::Failed);
        // A restart can find an evaluation more than one move behind; every state is reached from `Queued`.
        if status != evaluation.status && !evaluation.status.can_become(status) {
            self.decisions.push(Decision::EvaluationMoved {
                evaluation: id,
                status: EvaluationStatus::Queued,
                waiting: None,
                failure: None,
            });
        }
        evaluation.status = status;
        evaluation.waiting.clone_from(&waiting);
        self.decisions.push(Decision::EvaluationMoved { evaluation: id, status, waiting, failure });
    }

    fn standing(&self, evaluation: &Evaluation) -> (EvaluationStatus, Option<EvaluationWait>) {
        use EvaluationStatus::{Building, EvaluatingDerivation, EvaluatingFlake, Fetching, Queued};

        let has_builds = !evaluation.members.is_empty();
        let evaluating = if has_builds { EvaluatingDerivation } else { EvaluatingFlake };
        if let Some(job) = evaluation.job {
            if self.nodes[job].is_running() {
                return (if evaluation.stage == Stage::Fetch { Fetching } else { evaluating }, None);
            }
            let is_served = self.is_served(self.nodes[job].class);
            if !is_served && !self.has_active_builds(evaluation) {
                return (EvaluationStatus::Waiting, Some(self.wait_for_evaluator(job)));
            }
            return (if has_builds { EvaluatingDerivation } else { Queued }, None);
        }
        if !evaluation.sealed {
            return (evaluating, None);
        }
        if evaluation.unfinished > 0 {
            if self.has_active_builds(evaluation) {
                return (Building, None);
            }
            return (EvaluationStatus::Waiting, Some(self.wait_for_builders(evaluation)));
        }
        self.outcome(evaluation)
    }

    /// Where an evaluation stands of which nothing is left to do.
    fn outcome(&self, evaluation: &Evaluation) -> (EvaluationStatus, Option<EvaluationWait>) {
        let has_failed = |&slot: &NodeSlot| !self.nodes[slot].is_success();
        if evaluation.had_errors || evaluation.entry_points.iter().any(has_failed) {
            return (EvaluationStatus::Failed, None);
        }
        let is_writable = self.organizations.get(&evaluation.organization).is_some_and(|organization| organization.writable);
        if evaluation.entry_points.is_empty() || is_writable {
            (EvaluationStatus::Completed, None)
        } else {
            (EvaluationStatus::Waiting, Some(EvaluationWait::NoCache))
        }
    }

    /// Whether one of its builds runs, or would with a slot.
    fn has_active_builds(&self, evaluation: &Evaluation) -> bool {
        evaluation.running > 0 || evaluation.classes.iter().any(|(&class, counts)| counts.ready > 0 && self.is_served(class))
    }

    /// Whether a worker is connected that does such jobs when it has a slot.
    pub(super) fn is_served(&self, class: ClassSlot) -> bool {
        !self.classes[class].workers.is_empty()
    }

    /// What keeps the only workers for a class that is not served from it; `None` when there are none at all.
    pub(super) fn hindrance(&self, class: ClassSlot) -> Option<Hindrance> {
        let requirement = &self.classes[class].requirement;
        let fitting = self.workers.iter().filter(|(machine, _)| !requirement.excluded.contains(machine));
        let sessions = fitting.filter_map(|(_, worker)| worker.session.as_ref()).filter(|session| session.fits(requirement));
        let hindrance = |session: &Session| match session.shortage {
            Some(of) if !session.draining => Hindrance::Shortage(of),
            _ => Hindrance::Draining,
        };
        sessions.map(hindrance).max()
    }

    fn wait_for_evaluator(&self, job: NodeSlot) -> EvaluationWait {
        match self.hindrance(self.nodes[job].class) {
            Some(hindrance) => hindrance.into(),
            None => EvaluationWait::EvalWorkers { capability: self.nodes[job].job.kind() },
        }
    }

    fn wait_for_builders(&self, evaluation: &Evaluation) -> EvaluationWait {
        let unserved = evaluation.classes.iter().filter(|&(&class, counts)| counts.are_idle() && !self.is_served(class));
        let mut unmet: BTreeMap<(&str, &[String]), u32> = BTreeMap::new();
        let mut hindrances = Vec::new();
        for (&class, counts) in unserved {
            hindrances.push(self.hindrance(class));
            if let Need::Build { system, features } = &self.classes[class].requirement.need {
                *unmet.entry((system, features)).or_default() += counts.blocked + counts.ready;
            }
        }
        // None comes first: of what nobody can do, the rest is told.
        if let Some(hindrance) = hindrances.into_iter().min().unwrap_or(Some(Hindrance::Draining)) {
            return hindrance.into();
        }
        let unmet = unmet.into_iter().take(UNMET_MAX).map(|((system, features), build_count)| UnmetWorkers {
            architecture: system.to_owned(),
            required_features: features.to_vec(),
            build_count,
        });
        let connected = self.workers.iter().filter(|(_, worker)| worker.works_for(evaluation.organization)).count();
        let connected_workers = u32::try_from(connected).unwrap_or(u32::MAX);
        EvaluationWait::Workers { unmet: unmet.collect(), connected_workers }
    }
}
