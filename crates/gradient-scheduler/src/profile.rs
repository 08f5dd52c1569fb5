//! Workers that can do the same for the same organizations share a profile, and a list of those that have free slots.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops,
};

use gradient_domain::JobKind;

use crate::{
    WorkerCapabilities, WorkerOrganization,
    class::Requirement,
    slab::{Slab, Slot},
    worker::{Session, fits},
    workers::Machine,
};

pub(crate) type ProfileSlot = Slot<Profile>;

#[derive(Debug)]
pub(crate) struct Profile {
    abilities: Abilities,
    /// The workers with free slots for a kind of job, those with the most first.
    pub(crate) free: [BTreeSet<(Reverse<u32>, Machine)>; JobKind::ALL.len()],
    members: u32,
}

/// What a worker can do, and for whom. Of the slots only whether there are any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Abilities {
    organizations: Vec<WorkerOrganization>,
    capabilities: WorkerCapabilities,
}

/// All profiles that have workers.
#[derive(Debug)]
pub(crate) struct Profiles {
    slab: Slab<Profile>,
    by_abilities: BTreeMap<Abilities, ProfileSlot>,
}

impl Profile {
    pub(crate) fn fits(&self, requirement: &Requirement) -> bool {
        fits(&self.abilities.organizations, &self.abilities.capabilities, requirement)
    }

    /// How many different things these workers can do: those who can do little are chosen first.
    pub(crate) const fn breadth(&self) -> usize {
        let Abilities { organizations, capabilities } = &self.abilities;
        organizations.len() + capabilities.systems.len() + capabilities.features.len()
    }
}

impl Profiles {
    pub(crate) const fn new() -> Self {
        Self { slab: Slab::new(), by_abilities: BTreeMap::new() }
    }

    /// The profile of a worker with one member more, and whether it is new.
    pub(crate) fn join(&mut self, session: &Session) -> (ProfileSlot, bool) {
        let mut capabilities = session.capabilities.clone();
        capabilities.build_slots = capabilities.build_slots.min(1);
        let abilities = Abilities { organizations: session.organizations.clone(), capabilities };
        if let Some(&slot) = self.by_abilities.get(&abilities) {
            self.slab[slot].members += 1;
            return (slot, false);
        }
        let free = [const { BTreeSet::new() }; JobKind::ALL.len()];
        let slot = self.slab.insert(Profile { abilities: abilities.clone(), free, members: 1 });
        self.by_abilities.insert(abilities, slot);
        (slot, true)
    }

    /// Takes one member away; when it was the last, the profile goes, and is handed out.
    pub(crate) fn quit(&mut self, slot: ProfileSlot) -> Option<Profile> {
        let profile = &mut self.slab[slot];
        profile.members -= 1;
        if profile.members > 0 {
            return None;
        }
        let profile = self.slab.remove(slot)?;
        self.by_abilities.remove(&profile.abilities);
        Some(profile)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProfileSlot, &Profile)> {
        self.slab.iter()
    }
}

impl ops::Index<ProfileSlot> for Profiles {
    type Output = Profile;

    fn index(&self, slot: ProfileSlot) -> &Profile {
        &self.slab[slot]
    }
}

impl ops::IndexMut<ProfileSlot> for Profiles {
    fn index_mut(&mut self, slot: ProfileSlot) -> &mut Profile {
        &mut self.slab[slot]
    }
}
