//! Which workers there are to choose from for each class.

use std::cmp::Reverse;

use gradient_domain::JobKind;

use super::Scheduler;
use crate::{node::Millis, workers::Machine};

impl Scheduler {
    /// Puts a worker whose session has changed with those that can do the same.
    pub(super) fn reprofile(&mut self, machine: Machine) {
        let Some(worker) = self.workers.get_mut(machine) else { return };
        let old = worker.profile.take();
        let listed = std::mem::take(&mut worker.listed);
        // First in, then out: what stays the same is not made anew.
        if let Some(session) = &worker.session {
            let (new, is_new) = self.profiles.join(session);
            worker.profile = Some(new);
            if is_new {
                let profile = &self.profiles[new];
                for class in self.classes.slots() {
                    let class = &mut self.classes[class];
                    if profile.fits(&class.requirement) {
                        class.profiles.insert((profile.breadth(), new));
                    }
                }
            }
        }
        let Some(old) = old else { return };
        for &kind in JobKind::ALL {
            self.profiles[old].free[kind as usize].remove(&(Reverse(listed[kind as usize]), machine));
        }
        if let Some(gone) = self.profiles.quit(old) {
            for class in self.classes.slots() {
                self.classes[class].profiles.remove(&(gone.breadth(), old));
            }
        }
    }

    /// Brings the list of workers with free slots in step with one worker, and forgets one that is gone for good.
    pub(super) fn refresh_worker(&mut self, machine: Machine) {
        let Some(worker) = self.workers.get_mut(machine) else { return };
        if worker.takes_ahead(Millis::default()) {
            self.freed.insert(machine);
        }
        if let Some(profile) = worker.profile {
            for &kind in JobKind::ALL {
                let free = worker.free(kind);
                let listed = std::mem::replace(&mut worker.listed[kind as usize], free);
                if free == listed {
                    continue;
                }
                let list = &mut self.profiles[profile].free[kind as usize];
                list.remove(&(Reverse(listed), machine));
                if free > 0 {
                    list.insert((Reverse(free), machine));
                }
                if free > listed {
                    self.freed.insert(machine);
                }
            }
        }
        if worker.session.is_none() && worker.jobs.is_empty() {
            self.workers.leave(machine);
        }
    }
}
