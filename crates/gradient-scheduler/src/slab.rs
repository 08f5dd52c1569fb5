//! Values in reused slots of one vector, named by small typed indices.

use std::{cmp::Ordering, fmt, marker::PhantomData, num::NonZeroU32, ops};

/// Names a value of a [`Slab`] until that value is removed. Counts from 1, so that one that may be missing takes four bytes as well.
pub(crate) struct Slot<T>(NonZeroU32, PhantomData<fn() -> T>);

/// The vector.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    vacant: Vec<Slot<T>>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), vacant: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> Slot<T> {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(None);
            let number = u32::try_from(self.entries.len()).ok().and_then(NonZeroU32::new);
            Slot(number.unwrap_or_else(|| unreachable!("memory ends before 2^32 entries")), PhantomData)
        });
        self.entries[slot.index()] = Some(value);
        slot
    }

    pub(crate) fn remove(&mut self, slot: Slot<T>) -> Option<T> {
        let value = self.entries[slot.index()].take()?;
        self.vacant.push(slot);
        // An emptied slab gives its memory back.
        if self.vacant.len() == self.entries.len() {
            self.entries = Vec::new();
            self.vacant = Vec::new();
        }
        Some(value)
    }

    pub(crate) fn get(&self, slot: Slot<T>) -> Option<&T> {
        self.entries.get(slot.index())?.as_ref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot<T>, &T)> {
        let slots = (1..).filter_map(NonZeroU32::new).map(|number| Slot(number, PhantomData));
        slots.zip(&self.entries).filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)))
    }

    pub(crate) fn slots(&self) -> Vec<Slot<T>> {
        self.iter().map(|(slot, _)| slot).collect()
    }

    pub(crate) const fn len(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }
}

impl<T> ops::Index<Slot<T>> for Slab<T> {
    type Output = T;

    fn index(&self, slot: Slot<T>) -> &T {
        match &self.entries[slot.index()] {
            Some(value) => value,
            None => unreachable!("slots are forgotten before their values go"),
        }
    }
}

impl<T> ops::IndexMut<Slot<T>> for Slab<T> {
    fn index_mut(&mut self, slot: Slot<T>) -> &mut T {
        match &mut self.entries[slot.index()] {
            Some(value) => value,
            None => unreachable!("slots are forgotten before their values go"),
        }
    }
}

impl<T> Slot<T> {
    const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slot<T> {}

impl<T> PartialEq for Slot<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Slot<T> {}

impl<T> PartialOrd for Slot<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Slot<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
