//! One job in the graph: a build, or the fetch or evaluate job of an evaluation.

use std::{cmp::Reverse, time::Duration};

use gradient_domain::{BuildId, BuildStatus, Epoch, Job, Priority};

use crate::{
    Tick,
    class::ClassSlot,
    copies::{Copies, LargeInputs, Size},
    evaluation::Needing,
    slab::Slot,
    workers::Machine,
};

pub(crate) type NodeSlot = Slot<Node>;

/// Three lines of the processor's cache. Most of what is done with nodes is waiting for them to come from memory, so each line has what
/// is needed together: the first one all that it takes to become ready.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Node {
    pub(crate) phase: Phase,
    /// Counts up with every node; dependencies have smaller ones than their dependents.
    pub(crate) sequence: u64,
    /// The unfinished evaluations that need the build; always empty for other jobs.
    pub(crate) evaluations: Needing,
    /// Who can do it. Given back when the node has ended.
    pub(crate) class: ClassSlot,
    /// How many dependencies have not ended.
    pub(crate) blocked: u32,
    /// How long the longest chain that begins with it is expected to run: itself, a build that waits for it, and so on.
    pub(crate) rank: Millis,
    pub(crate) priority: Priority,

    /// How long it is expected to run.
    pub(crate) expected: Millis,
    /// The last assignment.
    pub(crate) epoch: Epoch,
    /// Who had the last attempt that failed.
    pub(crate) failed_on: Option<Machine>,
    /// Of its outputs, once it has ended with success.
    pub(crate) size: Size,
    /// Those that have not ended; empty once it has ended.
    pub(crate) dependents: Vec<NodeSlot>,
    /// Those that had not ended when it came, and may have left memory once it is not blocked any more.
    pub(crate) waits_for: Box<[NodeSlot]>,

    pub(crate) job: Job,
    /// Where its outputs are, once it has ended with success.
    pub(crate) copies: Copies,
    /// Dependencies that have ended, until it is begun.
    pub(crate) large_inputs: LargeInputs,
}

const _: () = assert!(size_of::<Option<Node>>() == 3 * 64, "a node has grown");

/// A duration in four bytes; 49 days and longer are all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Millis(u32);

impl Millis {
    pub(crate) const MAX: Self = Self(u32::MAX);

    pub(crate) fn saturating(millis: u64) -> Self {
        Self(u32::try_from(millis).unwrap_or(u32::MAX))
    }

    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        Self(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX))
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Dependencies have not ended.
    Blocked,
    /// Could run at once.
    Ready,
    /// Could run, but waits after a transient failure.
    Delayed { until: Tick },
    /// Has an owner; with `lease` one that is not connected, or not for the job's organization.
    Running { worker: Machine, lease: Option<Tick> },
    /// Nothing will change any more. `cause` is the build whose own failure is the reason.
    Ended { status: BuildStatus, cause: Option<BuildId> },
}

/// The order in which one class's jobs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Urgency {
    pub(crate) priority: Reverse<Priority>,
    pub(crate) rank: Reverse<Millis>,
    pub(crate) sequence: u64,
    pub(crate) node: NodeSlot,
}

impl Node {
    pub(crate) fn urgency(&self, slot: NodeSlot) -> Urgency {
        Urgency { priority: Reverse(self.priority), rank: Reverse(self.rank), sequence: self.sequence, node: slot }
    }

    /// What it waits for, beside what has ended since: nothing as soon as all of it has, with success. The memory is given back with
    /// the node, as to give back a little of it at each step takes longer than the step.
    pub(crate) fn dependencies(&self) -> &[NodeSlot] {
        if self.blocked == 0 { &[] } else { &self.waits_for }
    }

    pub(crate) const fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Whether its work still has to be begun.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Blocked | Phase::Ready | Phase::Delayed { .. })
    }

    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    pub(crate) const fn is_success(&self) -> bool {
        matches!(self.phase, Phase::Ended { status, .. } if status.is_success())
    }

    pub(crate) const fn owner(&self) -> Option<Machine> {
        match self.phase {
            Phase::Running { worker, .. } => Some(worker),
            _ => None,
        }
    }

    pub(crate) fn is_owned_by(&self, worker: Machine) -> bool {
        matches!(self.phase, Phase::Running { worker: owner, .. } if owner == worker)
    }

    pub(crate) fn is_owner(&self, epoch: Epoch, worker: Machine) -> bool {
        self.epoch == epoch && self.is_owned_by(worker)
    }
}
