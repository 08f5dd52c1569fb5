//! Jobs that exactly the same workers can do share a class, and a queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops,
};

use gradient_domain::{JobKind, OrganizationId};

use crate::{
    node::{Millis, Urgency},
    profile::ProfileSlot,
    slab::{Slab, Slot},
    workers::Machine,
};

pub(crate) type ClassSlot = Slot<Class>;

/// What a job asks of a worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Requirement {
    pub(crate) organization: OrganizationId,
    pub(crate) need: Need,
    /// Workers that have found themselves unfit for it.
    pub(crate) excluded: Vec<Machine>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    Fetch,
    Evaluate,
    Build { system: String, features: Vec<String> },
}

impl Need {
    pub(crate) const fn kind(&self) -> JobKind {
        match self {
            Self::Fetch => JobKind::Fetch,
            Self::Evaluate => JobKind::Evaluate,
            Self::Build { .. } => JobKind::Build,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) requirement: Requirement,
    /// The ready ones, most urgent first.
    pub(crate) queue: BTreeSet<Urgency>,
    /// The connected workers that fit, busy or not.
    pub(crate) workers: BTreeSet<Machine>,
    /// The profiles of all workers that fit or are excluded, those that can do the least else first.
    pub(crate) profiles: BTreeSet<(usize, ProfileSlot)>,
    /// What all of its jobs that have not begun are expected to take, in milliseconds.
    pub(crate) work: u64,
    /// The build slots of all workers that fit.
    pub(crate) slots: u32,
    /// How many jobs of this class have not ended.
    members: u32,
}

impl Class {
    /// How long its workers are busy with it at least, when it needs features: it cannot do with others, as most builds can.
    pub(crate) fn load(&self) -> Millis {
        match &self.requirement.need {
            Need::Build { features, .. } if !features.is_empty() => {
                Millis::saturating(self.work.checked_div(u64::from(self.slots)).unwrap_or(0))
            }
            _ => Millis::default(),
        }
    }

    /// How long everything takes at least from now on, because of one of its jobs or because of all.
    pub(crate) fn pressure(&self, job: &Urgency) -> Millis {
        job.rank.0.max(self.load())
    }
}

/// All classes that have jobs.
#[derive(Debug)]
pub(crate) struct Classes {
    slab: Slab<Class>,
    by_requirement: BTreeMap<Requirement, ClassSlot>,
}

impl Classes {
    pub(crate) const fn new() -> Self {
        Self { slab: Slab::new(), by_requirement: BTreeMap::new() }
    }

    /// The class with one member more, and whether it is new.
    pub(crate) fn join(&mut self, requirement: Requirement) -> (ClassSlot, bool) {
        if let Some(&slot) = self.by_requirement.get(&requirement) {
            self.slab[slot].members += 1;
            return (slot, false);
        }
        let class = Class {
            requirement: requirement.clone(),
            queue: BTreeSet::new(),
            workers: BTreeSet::new(),
            profiles: BTreeSet::new(),
            work: 0,
            slots: 0,
            members: 1,
        };
        let slot = self.slab.insert(class);
        self.by_requirement.insert(requirement, slot);
        (slot, true)
    }

    /// Takes one member away; when it was the last, the class goes, and is handed out.
    pub(crate) fn quit(&mut self, slot: ClassSlot) -> Option<Class> {
        let class = &mut self.slab[slot];
        class.members -= 1;
        if class.members > 0 {
            return None;
        }
        let class = self.slab.remove(slot)?;
        self.by_requirement.remove(&class.requirement);
        Some(class)
    }

    pub(crate) fn get(&self, slot: ClassSlot) -> Option<&Class> {
        self.slab.get(slot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClassSlot, &Class)> {
        self.slab.iter()
    }

    pub(crate) fn slots(&self) -> Vec<ClassSlot> {
        self.slab.slots()
    }
}

impl ops::Index<ClassSlot> for Classes {
    type Output = Class;

    fn index(&self, slot: ClassSlot) -> &Class {
        &self.slab[slot]
    }
}

impl ops::IndexMut<ClassSlot> for Classes {
    fn index_mut(&mut self, slot: ClassSlot) -> &mut Class {
        &mut self.slab[slot]
    }
}
