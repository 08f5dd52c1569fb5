//! The graph: builds come, end, and take their dependents with them.

use gradient_domain::{BuildId, BuildStatus, Epoch, EvaluationId, FailureKind, Job};

use super::Scheduler;
use crate::{
    BuildState, Decision, NewBuild,
    class::{Need, Requirement},
    copies::{Copies, Input, LargeInputs, Size},
    evaluation::{EvaluationSlot, Needing},
    node::{Millis, Node, NodeSlot, Phase},
    workers::Machine,
};

impl Scheduler {
    pub(super) fn add_builds(&mut self, evaluation: EvaluationId, builds: Vec<NewBuild>) {
        let Some(&evaluation) = self.evaluation_of.get(&evaluation) else { return self.add_unneeded_builds(builds) };
        let mut added = Vec::new();
        for build in builds {
            let state = build.state;
            if let Some(&slot) = self.node_of.get(&Job::Build(build.build)) {
                self.link(evaluation, slot);
                if let BuildState::Ended(status) = state {
                    self.believe_ended(slot, status);
                }
            } else {
                let slot = self.add_build(build);
                self.link(evaluation, slot);
                added.push(slot);
            }
        }
        self.rank_later(added);
        self.touched.insert(evaluation);
    }

    /// The evaluation has ended in the meantime, so that nobody needs the builds. Those that a worker has may finish.
    fn add_unneeded_builds(&mut self, builds: Vec<NewBuild>) {
        for build in builds {
            let known = self.node_of.get(&Job::Build(build.build)).copied();
            match (known, build.state) {
                (Some(slot), BuildState::Ended(status)) => self.believe_ended(slot, status),
                (None, BuildState::Queued { epoch }) => {
                    self.decide_build(build.build, BuildStatus::Aborted, epoch, Why::default());
                }
                (None, BuildState::Leased { .. }) => {
                    self.add_build(NewBuild { dependencies: Vec::new(), ..build });
                }
                (Some(_), _) | (None, BuildState::Ended(_)) => {}
            }
        }
    }

    fn add_build(&mut self, build: NewBuild) -> NodeSlot {
        let NewBuild { build: id, organization, system, features, dependencies, expected, state } = build;
        let mut dependencies: Vec<NodeSlot> =
            dependencies.into_iter().filter_map(|id| self.node_of.get(&Job::Build(id)).copied()).collect();
        dependencies.sort_unstable();
        dependencies.dedup();
        let fate = self.fate_of_dependent(&dependencies);
        let large = |&slot: &NodeSlot| Some((slot, self.nodes[slot].size.if_large().filter(|_| self.nodes[slot].is_ended())?));
        let large: Vec<(NodeSlot, u32)> = dependencies.iter().filter_map(large).collect();
        dependencies.retain(|&slot| !self.nodes[slot].is_ended());

        let (epoch, owner) = match state {
            BuildState::Ended(_) => (Epoch::NONE, None),
            BuildState::Queued { epoch } => (epoch, None),
            BuildState::Leased { epoch, worker } => (epoch, Some(self.workers.number(worker))),
        };
        let need = Need::Build { system, features };
        let slot = self.insert_node(Job::Build(id), Requirement { organization, need, excluded: Vec::new() }, epoch);
        for (input, kibibytes) in large {
            self.note_large_input(slot, input, kibibytes);
        }
        let expected = Millis::from(expected);
        let node = &mut self.nodes[slot];
        (node.expected, node.rank) = (expected, expected);
        self.classes[node.class].work += u64::from(expected.get());

        if let BuildState::Ended(status) = state
            && status.is_final()
        {
            let cause = match status {
                BuildStatus::Failed => Some(id),
                BuildStatus::DependencyFailed => fate.and_then(|(_, cause)| cause).or(Some(id)),
                _ => None,
            };
            self.set_phase(slot, Phase::Ended { status, cause });
        } else if let Some((status, cause)) = fate {
            self.disown(id, epoch, owner);
            self.decide_build(id, status, epoch, Why { cause, failure: None });
            self.set_phase(slot, Phase::Ended { status, cause });
        } else if !dependencies.is_empty() {
            let early = owner.filter(|&worker| dependencies.iter().all(|&dependency| self.nodes[dependency].is_owned_by(worker)));
            for &dependency in &dependencies {
                self.nodes[dependency].dependents.push(slot);
            }
            self.nodes[slot].blocked = u32::try_from(dependencies.len()).unwrap_or(u32::MAX);
            self.nodes[slot].waits_for = dependencies.into();
            match early {
                Some(worker) => self.await_owner(slot, worker),
                None => self.disown(id, epoch, owner),
            }
        } else if let Some(worker) = owner {
            self.await_owner(slot, worker);
        } else {
            self.set_phase(slot, Phase::Ready);
        }
        slot
    }

    /// The worker that had it when the server stopped may come back.
    fn await_owner(&mut self, slot: NodeSlot, worker: Machine) {
        let lease = Some(self.now.plus(self.settings.lease));
        self.set_phase(slot, Phase::Running { worker, lease });
    }

    /// A build cannot have an owner before its dependencies are there, or with the same owner: the queue is where it belongs.
    fn disown(&mut self, build: BuildId, epoch: Epoch, owner: Option<Machine>) {
        if owner.is_some() {
            let why = Why { cause: None, failure: Some(FailureKind::Transient) };
            self.decide_build(build, BuildStatus::Queued, epoch, why);
        }
    }

    pub(super) fn insert_node(&mut self, job: Job, requirement: Requirement, epoch: Epoch) -> NodeSlot {
        let class = self.join_class(requirement);
        self.sequence += 1;
        let slot = self.nodes.insert(Node {
            job,
            class,
            phase: Phase::Blocked,
            epoch,
            priority: gradient_domain::Priority::default(),
            expected: Millis::default(),
            rank: Millis::default(),
            sequence: self.sequence,
            blocked: 0,
            failed_on: None,
            size: Size::default(),
            copies: Copies::default(),
            large_inputs: LargeInputs::default(),
            waits_for: Box::default(),
            dependents: Vec::new(),
            evaluations: Needing::nobody(),
        });
        self.node_of.insert(job, slot);
        slot
    }

    /// Makes a build, and all that it waits for, one of the evaluation's.
    fn link(&mut self, evaluation: EvaluationSlot, slot: NodeSlot) {
        let priority = self.evaluations[evaluation].priority;
        let mut open = vec![slot];
        while let Some(slot) = open.pop() {
            let node = &mut self.nodes[slot];
            if node.evaluations.iter().any(|other| other == evaluation) {
                continue;
            }
            let is_first = node.evaluations.is_empty();
            node.evaluations.add(evaluation);
            open.extend_from_slice(node.dependencies());
            let counts = &mut self.evaluations[evaluation];
            counts.enroll(node.phase, node.class);
            counts.members.push(slot);
            if is_first || node.priority < priority {
                self.reorder(slot, |node| node.priority = priority);
            }
        }
    }

    /// The database knows that a build has ended; whoever has it works for nothing.
    fn believe_ended(&mut self, slot: NodeSlot, status: BuildStatus) {
        let node = &self.nodes[slot];
        if node.is_ended() || !status.is_final() {
            return;
        }
        self.cancel(slot);
        if status.is_success() {
            self.complete_build(slot, status);
        } else {
            self.end_build(slot, status);
        }
    }

    /// A build's outputs are there: what waited for it alone becomes ready.
    pub(super) fn complete_build(&mut self, slot: NodeSlot, status: BuildStatus) {
        self.set_phase(slot, Phase::Ended { status, cause: None });
        let large = self.nodes[slot].size.if_large();
        let mut dependents = std::mem::take(&mut self.nodes[slot].dependents);
        for dependent in dependents.drain(..) {
            if let Some(kibibytes) = large
                && self.nodes[dependent].phase == Phase::Blocked
            {
                self.note_large_input(dependent, slot, kibibytes);
            }
            let node = &mut self.nodes[dependent];
            if node.is_ended() {
                continue;
            }
            node.blocked -= 1;
            if node.blocked == 0 {
                if node.phase == Phase::Blocked {
                    self.set_phase(dependent, Phase::Ready);
                }
            } else if node.is_running() {
                // Nobody may need either of them any more, and then this one is gone before the dependent.
                node.waits_for = node.waits_for.iter().copied().filter(|&other| other != slot).collect();
            }
        }
        // Empty. Its memory goes when the node goes.
        self.nodes[slot].dependents = dependents;
        if self.is_unneeded(slot) {
            self.forget_unneeded(vec![slot]);
        }
    }

    fn note_large_input(&mut self, dependent: NodeSlot, slot: NodeSlot, kibibytes: u32) {
        let sequence = self.nodes[slot].sequence;
        self.nodes[dependent].large_inputs.add(Input { slot, sequence, kibibytes });
    }

    /// Where an input is, while it is in memory.
    pub(super) fn copies(&self, input: Input) -> Option<&Copies> {
        self.nodes.get(input.slot).filter(|node| node.sequence == input.sequence).map(|node| &node.copies)
    }

    /// A build's outputs will never be there: it ends, and so does everything that waits for it.
    pub(super) fn end_build(&mut self, slot: NodeSlot, status: BuildStatus) {
        let cause = match (status, self.nodes[slot].job) {
            (BuildStatus::Failed | BuildStatus::DependencyFailed, Job::Build(id)) => Some(id),
            _ => None,
        };
        self.set_phase(slot, Phase::Ended { status, cause });
        let (mut open, mut ended) = (vec![slot], vec![slot]);
        while let Some(slot) = open.pop() {
            let Some((status, cause)) = self.fate_of_dependent(&[slot]) else { continue };
            for dependent in std::mem::take(&mut self.nodes[slot].dependents) {
                self.recall(dependent);
                let node = &self.nodes[dependent];
                if let (Phase::Blocked, Job::Build(id)) = (node.phase, node.job) {
                    self.decide_build(id, status, node.epoch, Why { cause, failure: None });
                    self.set_phase(dependent, Phase::Ended { status, cause });
                    open.push(dependent);
                    ended.push(dependent);
                }
            }
        }
        self.forget_unneeded(ended);
    }

    /// How a build with these dependencies ends without having run, and because of which one.
    fn fate_of_dependent(&self, dependencies: &[NodeSlot]) -> Option<(BuildStatus, Option<BuildId>)> {
        let fates = dependencies.iter().filter_map(|&slot| match self.nodes[slot].phase {
            Phase::Ended { status: BuildStatus::Failed | BuildStatus::DependencyFailed, cause } => {
                Some((BuildStatus::DependencyFailed, cause))
            }
            Phase::Ended { status: BuildStatus::Aborted, .. } => Some((BuildStatus::Aborted, None)),
            _ => None,
        });
        // A failure says more than an abort.
        fates.max_by_key(|&(status, _)| status == BuildStatus::DependencyFailed)
    }

    /// Takes out of memory what no evaluation needs and no worker has. All of it has ended.
    pub(super) fn forget_unneeded(&mut self, mut slots: Vec<NodeSlot>) {
        slots.retain(|&slot| self.is_unneeded(slot));
        let mut outlived: Vec<NodeSlot> = slots.iter().flat_map(|&slot| self.nodes[slot].dependencies()).copied().collect();
        outlived.sort_unstable();
        outlived.dedup();
        for dependency in outlived {
            let mut dependents = std::mem::take(&mut self.nodes[dependency].dependents);
            dependents.retain(|&slot| !self.is_unneeded(slot));
            self.nodes[dependency].dependents = dependents;
        }
        for slot in slots {
            if let Some(node) = self.nodes.remove(slot) {
                self.node_of.remove(&node.job);
            }
        }
    }

    fn is_unneeded(&self, slot: NodeSlot) -> bool {
        let node = &self.nodes[slot];
        node.evaluations.is_empty() && !node.is_running()
    }

    pub(super) fn decide_build(&mut self, build: BuildId, status: BuildStatus, epoch: Epoch, why: Why) {
        self.decisions.push(Decision::BuildMoved { build, status, epoch, cause: why.cause, failure: why.failure });
    }
}

/// What a build's move came from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Why {
    pub(super) cause: Option<BuildId>,
    pub(super) failure: Option<FailureKind>,
}
