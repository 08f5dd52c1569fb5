//! What holds after every event.

use gradient_domain::{BuildId, BuildStatus, BuildWait, EvaluationStatus, JobKind, Moment};

use super::{BuildRow, Machine, World};

impl World {
    pub(super) fn check(&self) {
        for row in self.evaluations.values().filter(|row| !row.status.is_final()) {
            let builds = || row.members.iter().map(|id| (id, &self.builds[id]));
            let runs = builds().any(|(_, build)| build.status == BuildStatus::Building);
            let could = builds().any(|(id, build)| {
                let fits = |machine: &&Machine| machine.fits_build(build) && !self.unfit.contains(&(*id, machine.id));
                self.is_unblocked(build) && self.machines.iter().filter(|machine| machine.is_open()).any(|m| fits(&m))
            });
            match row.status {
                EvaluationStatus::Waiting => assert!(!runs && !could, "waiting says that nothing goes on: {row:?}"),
                EvaluationStatus::Building => assert!(runs || could, "building says that something goes on: {row:?}"),
                _ => {}
            }
            for (&id, build) in builds() {
                let wait = self.scheduler.explain_build(id, Moment::from_micros(0), self.now);
                assert_eq!(wait.is_some(), build.status == BuildStatus::Queued, "a queued build says why: {id} {wait:?}");
                if let Some(wait) = wait {
                    self.check_wait(id, build, &wait);
                }
            }
        }
        for (id, build) in self.builds.iter().filter(|(_, build)| build.status == BuildStatus::Building) {
            let is_kept = |id: &BuildId| self.builds[id].status.is_success() || self.builds[id].owner == build.owner;
            assert!(build.dependencies.iter().all(is_kept), "what it was begun with is still with its worker: {id}");
        }
        for view in self.scheduler.workers() {
            let machine = self.machines.iter().find(|machine| machine.id == view.worker).unwrap();
            let owned: Vec<_> = view.jobs.iter().map(|owned| (owned.job, owned.epoch)).collect();
            let runs: Vec<_> = machine.jobs.iter().filter(|(_, stop)| stop.is_none()).map(|(&job, _)| job).collect();
            assert_eq!(owned, runs, "both sides agree about who has what");
            assert!(machine.connected && machine.draining == view.draining);
        }
        assert_eq!(self.scheduler.workers().count(), self.machines.iter().filter(|machine| machine.connected).count());
    }

    fn check_wait(&self, id: BuildId, build: &BuildRow, wait: &BuildWait) {
        let mut fitting = self.machines.iter().filter(|machine| machine.connected && machine.fits_build(build));
        let open = |machine: &&Machine| machine.is_open() && !self.unfit.contains(&(id, machine.id));
        match wait {
            BuildWait::Dependencies { builds } => {
                assert!(!builds.is_empty() && builds.iter().all(|id| !self.builds[id].status.is_final()));
            }
            BuildWait::Retry { .. } => assert!(self.is_unblocked(build)),
            BuildWait::Slots { .. } | BuildWait::Share { .. } => {
                let open: Vec<_> = fitting.filter(open).collect();
                assert!(self.is_unblocked(build) && !open.is_empty());
                let free = open.into_iter().find(|machine| machine.free(JobKind::Build) > 0);
                assert!(free.is_none(), "no fitting slot is free while a build could run: {id} {free:?}");
            }
            BuildWait::Workers { .. } | BuildWait::Draining | BuildWait::Shortage { .. } => {
                assert!(self.is_unblocked(build));
                assert!(!fitting.any(|machine| open(&machine)), "a machine that fits {id} is there");
            }
            BuildWait::Inputs => panic!("nothing waits for that: {wait:?}"),
        }
    }

    fn is_unblocked(&self, build: &BuildRow) -> bool {
        let is_there = |id: &BuildId| self.builds[id].status.is_success();
        build.status == BuildStatus::Queued && build.dependencies.iter().all(is_there)
    }
}
