//! Why something does not run, and who is there to run it.

use gradient_domain::{BuildId, BuildWait, EvaluationId, EvaluationWait, Job, Moment};

use super::{Scheduler, status::Hindrance, turn::Turn};
use crate::{
    OwnedJob, Tick, WorkerView,
    class::Need,
    node::{NodeSlot, Phase},
};

/// How many dependencies are named.
const DEPENDENCIES_MAX: usize = 20;

impl Scheduler {
    /// Why a build is queued; `None` when it is not, or is not known. `now` and `tick` are the same time on both clocks. A place
    /// in the queue is told up to 1000, and when it is the build's turn only when something is known of what comes before.
    pub fn explain_build(&self, build: BuildId, now: Moment, tick: Tick) -> Option<BuildWait> {
        let &slot = self.node_of.get(&Job::Build(build))?;
        let node = &self.nodes[slot];
        match node.phase {
            Phase::Running { .. } | Phase::Ended { .. } => None,
            Phase::Blocked => Some(BuildWait::Dependencies { builds: self.unfinished_dependencies(slot) }),
            Phase::Delayed { until } => Some(BuildWait::Retry { at: now.plus(until.since(tick)) }),
            Phase::Ready if self.is_served(node.class) => {
                let Turn { position, for_share, wait } = self.turn(slot, tick);
                let eta_secs = wait.map(|wait| wait.expected_secs);
                let eta_min_secs = wait.map(|wait| wait.least_secs);
                let eta_max_secs = wait.map(|wait| wait.most_secs);
                Some(if for_share {
                    BuildWait::Share { position, eta_secs, eta_min_secs, eta_max_secs }
                } else {
                    BuildWait::Slots { position, eta_secs, eta_min_secs, eta_max_secs }
                })
            }
            Phase::Ready => match (self.hindrance(node.class), &self.classes[node.class].requirement.need) {
                (Some(Hindrance::Draining), _) => Some(BuildWait::Draining),
                (Some(Hindrance::Shortage(of)), _) => Some(BuildWait::Shortage { of }),
                (None, Need::Build { system, features }) => {
                    Some(BuildWait::Workers { architecture: system.clone(), required_features: features.clone() })
                }
                (None, Need::Fetch | Need::Evaluate) => None,
            },
        }
    }

    /// Why an evaluation is waiting; `None` when it is not, or is not known.
    pub fn explain_evaluation(&self, evaluation: EvaluationId) -> Option<EvaluationWait> {
        let &slot = self.evaluation_of.get(&evaluation)?;
        self.evaluations[slot].waiting.clone()
    }

    /// The connected workers, by id.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> {
        let mut workers: Vec<_> = self.workers.iter().map(|(machine, worker)| (self.workers.id(machine), worker)).collect();
        workers.sort_unstable_by_key(|&(id, _)| id);
        workers.into_iter().filter_map(|(id, worker)| {
            let session = worker.session.as_ref()?;
            let jobs = worker.jobs.iter().map(|(job, holding)| OwnedJob {
                job,
                epoch: self.nodes[holding.node].epoch,
                started_at: holding.started_at,
            });
            Some(WorkerView {
                worker: id,
                organizations: session.organizations.clone(),
                capabilities: session.capabilities.clone(),
                draining: session.draining,
                connected_at: session.connected_at,
                jobs: jobs.collect(),
            })
        })
    }

    fn unfinished_dependencies(&self, slot: NodeSlot) -> Vec<BuildId> {
        let unfinished = self.nodes[slot].dependencies().iter().map(|&slot| &self.nodes[slot]).filter(|node| !node.is_ended());
        let ids = unfinished.filter_map(|node| if let Job::Build(id) = node.job { Some(id) } else { None });
        ids.take(DEPENDENCIES_MAX).collect()
    }
}
