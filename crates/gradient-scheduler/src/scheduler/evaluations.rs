//! Evaluations begin, come to their next stage, and end.

use std::collections::{BTreeMap, BTreeSet};

use gradient_domain::{BuildId, BuildStatus, Epoch, EvaluationId, EvaluationStatus, FailureKind, Job};

use super::{Scheduler, builds::Why};
use crate::{
    Decision, NewEvaluation, Stage,
    class::{Need, Requirement},
    evaluation::{Evaluation, EvaluationSlot},
    node::{NodeSlot, Phase},
    workers::Machine,
};

impl Scheduler {
    pub(super) fn add_evaluation(&mut self, new: &NewEvaluation) {
        if new.status.is_final() || self.evaluation_of.contains_key(&new.evaluation) {
            return;
        }
        let slot = self.evaluations.insert(Evaluation {
            id: new.evaluation,
            organization: new.organization,
            priority: new.priority,
            status: new.status,
            waiting: None,
            stage: new.stage,
            job: None,
            sealed: false,
            had_errors: false,
            job_failure: None,
            members: Vec::new(),
            entry_points: BTreeSet::new(),
            unfinished: 0,
            running: 0,
            classes: BTreeMap::new(),
            remainder: None,
        });
        self.evaluation_of.insert(new.evaluation, slot);
        let owner = new.lease.map(|worker| self.workers.number(worker));
        self.begin_stage(slot, new.job_epoch, owner);
    }

    /// Queues the job of an evaluation's stage, or gives it to the owner it had.
    fn begin_stage(&mut self, slot: EvaluationSlot, epoch: Epoch, owner: Option<Machine>) {
        self.touched.insert(slot);
        let evaluation = &self.evaluations[slot];
        let (id, organization, priority) = (evaluation.id, evaluation.organization, evaluation.priority);
        let (job, need) = match evaluation.stage {
            Stage::Fetch => (Job::Fetch(id), Need::Fetch),
            Stage::Evaluate => (Job::Evaluate(id), Need::Evaluate),
            Stage::Build => return,
        };
        let node = self.insert_node(job, Requirement { organization, need, excluded: Vec::new() }, epoch);
        self.evaluations[slot].job = Some(node);
        self.nodes[node].priority = priority;
        let phase = owner.map_or(Phase::Ready, |worker| {
            let lease = Some(self.now.plus(self.settings.lease));
            Phase::Running { worker, lease }
        });
        self.set_phase(node, phase);
    }

    /// The job of an evaluation's stage is done: on to the next stage.
    pub(super) fn advance(&mut self, id: EvaluationId, job: NodeSlot) {
        self.end_job(job);
        if let Some(&slot) = self.evaluation_of.get(&id) {
            let evaluation = &mut self.evaluations[slot];
            evaluation.job = None;
            evaluation.stage = match evaluation.stage {
                Stage::Fetch => Stage::Evaluate,
                Stage::Evaluate | Stage::Build => Stage::Build,
            };
            self.begin_stage(slot, Epoch::NONE, None);
        }
    }

    /// The job of an evaluation's stage has failed for good: what has been found until now is built, nothing more comes.
    pub(super) fn fail_stage(&mut self, id: EvaluationId, job: NodeSlot, kind: FailureKind) {
        self.end_job(job);
        if let Some(&slot) = self.evaluation_of.get(&id) {
            let evaluation = &mut self.evaluations[slot];
            evaluation.job = None;
            evaluation.stage = Stage::Build;
            evaluation.sealed = true;
            evaluation.had_errors = true;
            evaluation.job_failure = Some(kind);
            self.touched.insert(slot);
        }
    }

    fn end_job(&mut self, slot: NodeSlot) {
        self.set_phase(slot, Phase::Ended { status: BuildStatus::Completed, cause: None });
        if let Some(node) = self.nodes.remove(slot) {
            self.node_of.remove(&node.job);
        }
    }

    pub(super) fn add_entry_points(&mut self, id: EvaluationId, builds: &[BuildId]) {
        if let Some(&slot) = self.evaluation_of.get(&id) {
            let evaluation = &mut self.evaluations[slot];
            for &build in builds {
                match self.node_of.get(&Job::Build(build)) {
                    Some(&node) if self.nodes[node].evaluations.iter().any(|needing| needing == slot) => {
                        evaluation.entry_points.insert(node);
                    }
                    // Nothing is known of it, so nobody can say that it succeeded.
                    _ => evaluation.had_errors = true,
                }
            }
            self.touched.insert(slot);
        }
    }

    pub(super) fn seal_evaluation(&mut self, id: EvaluationId, had_errors: bool) {
        if let Some(&slot) = self.evaluation_of.get(&id) {
            self.evaluations[slot].sealed = true;
            self.evaluations[slot].had_errors |= had_errors;
            self.touched.insert(slot);
            self.rank_now();
        }
    }

    pub(super) fn abort_evaluation(&mut self, id: EvaluationId, stop_running: bool) {
        let Some(&slot) = self.evaluation_of.get(&id) else { return };
        self.decisions.push(Decision::EvaluationMoved {
            evaluation: id,
            status: EvaluationStatus::Aborted,
            waiting: None,
            failure: None,
        });
        if let Some(job) = self.evaluations[slot].job.take() {
            self.cancel(job);
            self.end_job(job);
        }
        let unneeded = self.remove_evaluation(slot);
        for &slot in &unneeded {
            let node = &self.nodes[slot];
            if node.is_ended() {
                continue;
            }
            if node.is_running() && !stop_running {
                continue;
            }
            if let Job::Build(build) = node.job {
                self.decide_build(build, BuildStatus::Aborted, node.epoch, Why::default());
            }
            self.cancel(slot);
            self.set_phase(slot, Phase::Ended { status: BuildStatus::Aborted, cause: None });
        }
        self.forget_unneeded(unneeded);
    }

    /// Takes an evaluation out of memory; these of its builds no other one needs.
    pub(super) fn remove_evaluation(&mut self, slot: EvaluationSlot) -> Vec<NodeSlot> {
        let Some(evaluation) = self.evaluations.remove(slot) else { return Vec::new() };
        self.evaluation_of.remove(&evaluation.id);
        self.touched.remove(&slot);
        let mut unneeded = Vec::new();
        for node in evaluation.members {
            self.nodes[node].evaluations.remove(slot);
            let others = &self.nodes[node].evaluations;
            match others.iter().map(|other| self.evaluations[other].priority).max() {
                None => unneeded.push(node),
                Some(priority) if priority < self.nodes[node].priority => {
                    self.reorder(node, |node| node.priority = priority);
                }
                Some(_) => {}
            }
        }
        unneeded
    }
}
