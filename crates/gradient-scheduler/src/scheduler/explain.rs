//! Why something does not run, and who is there to run it.

use gradient_domain::{BuildId, BuildWait, EvaluationId, EvaluationWait, Job, Moment};

use super::{Scheduler, status::Hindrance};
use crate::{
    OwnedJob, Tick, WorkerView,
    class::{Class, Need},
    node::{NodeSlot, Phase},
};

/// How many dependencies are named.
const DEPENDENCIES_MAX: usize = 20;
/// Up to which place in the queue it is counted.
const POSITION_MAX: usize = 1000;

impl Scheduler {
    /// Why a build is queued; `None` when it is not, or is not known. `now` and `tick` are the same time on both clocks. A place
    /// in the queue is told up to 1000.
    pub fn explain_build(&self, build: BuildId, now: Moment, tick: Tick) -> Option<BuildWait> {
        let &slot = self.node_of.get(&Job::Build(build))?;
        let node = &self.nodes[slot];
        match node.phase {
            Phase::Running { .. } | Phase::Ended { .. } => None,
            Phase::Blocked => Some(BuildWait::Dependencies { builds: self.unfinished_dependencies(slot) }),
            Phase::Delayed { until } => Some(BuildWait::Retry { at: now.plus(until.since(tick)) }),
            Phase::Ready if self.is_served(node.class) => {
                let position = u32::try_from(self.position(slot)).unwrap_or(u32::MAX);
                Some(BuildWait::Slots { position, eta_secs: None })
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
        self.workers.iter().filter_map(|(&id, worker)| {
            let session = worker.session.as_ref()?;
            let jobs = worker.jobs.iter().map(|(&job, holding)| OwnedJob {
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
        let unfinished = self.nodes[slot].dependencies.iter().map(|&slot| &self.nodes[slot]).filter(|node| !node.is_ended());
        let ids = unfinished.filter_map(|node| if let Job::Build(id) = node.job { Some(id) } else { None });
        ids.take(DEPENDENCIES_MAX).collect()
    }

    /// How many ready jobs that the same workers do come before this one.
    fn position(&self, slot: NodeSlot) -> usize {
        let node = &self.nodes[slot];
        let own = &self.classes[node.class];
        let rivals = self.classes.iter().map(|(_, class)| class).filter(|class| compete(own, class));
        let before = rivals.flat_map(|class| class.queue.range(..node.urgency(slot)));
        before.take(POSITION_MAX).count()
    }
}

/// Whether the classes have a worker in common, and its slots.
fn compete(a: &Class, b: &Class) -> bool {
    let (few, many) = if a.workers.len() <= b.workers.len() { (a, b) } else { (b, a) };
    a.requirement.need.kind() == b.requirement.need.kind() && few.workers.iter().any(|id| many.workers.contains(id))
}
