//! Carries decisions out, when they are right.

use std::time::Duration;

use gradient_domain::{BuildId, BuildStatus, Epoch, EvaluationId, EvaluationStatus, EvaluationWait, Job, WorkerId};
use gradient_scheduler::{Decision, Stage};

use super::{Machine, World};
use crate::fixture::seconds;

impl World {
    pub(super) fn obey(&mut self, decision: &Decision) {
        match decision {
            Decision::Assign { job, epoch, worker } => self.obey_assign(*job, *epoch, *worker),
            Decision::Cancel { job, epoch, worker } | Decision::JobRefused { job, epoch, worker } => {
                let now = self.now;
                let machine = self.machine(*worker);
                assert!(machine.connected, "only who is there can be told");
                if let Some(stop) = machine.jobs.get_mut(&(*job, *epoch)) {
                    assert_eq!(stop.replace(now), None, "told once");
                }
            }
            Decision::BuildMoved { build, status, epoch, cause, .. } => self.obey_build(*build, *status, *epoch, *cause),
            Decision::EvaluationMoved { evaluation, status, waiting, .. } => {
                self.obey_evaluation(*evaluation, *status, waiting.as_ref());
            }
        }
    }

    fn obey_assign(&mut self, job: Job, epoch: Epoch, worker: WorkerId) {
        let doubled = self.running().into_iter().find(|(running, ..)| *running == job);
        assert_eq!(doubled, None, "one owner at a time");
        let machine = self.machines.iter().find(|machine| machine.id == worker).unwrap();
        assert!(machine.is_open(), "only who takes jobs gets one");
        assert!(machine.free(job.kind()) > 0 || self.is_short(machine, job), "never more jobs than slots, but for short ones");
        match job {
            Job::Build(id) => {
                let row = self.builds.get_mut(&id).unwrap();
                assert_eq!((row.status, row.epoch), (BuildStatus::Building, epoch));
                row.owner = Some(worker);
                let row = &self.builds[&id];
                assert!(machine.fits_build(row) && !self.unfit.contains(&(id, worker)), "only who fits gets it");
                let there = |id: &BuildId| {
                    let dependency = &self.builds[id];
                    let made = (Job::Build(*id), dependency.epoch);
                    dependency.status.is_success()
                        || dependency.owner == Some(worker) && machine.jobs.contains_key(&made) && machine.usable.contains(&made)
                };
                assert!(row.dependencies.iter().all(there), "dependencies first, or with the same worker");
            }
            Job::Fetch(id) | Job::Evaluate(id) => {
                let row = self.evaluations.get_mut(&id).unwrap();
                let stage = if matches!(job, Job::Fetch(_)) { Stage::Fetch } else { Stage::Evaluate };
                assert_eq!((row.stage, row.epoch.next()), (stage, epoch));
                row.epoch = epoch;
                row.owner = Some(worker);
                assert!(machine.serves(row.organization, job.kind()));
            }
        }
        self.machine(worker).jobs.insert((job, epoch), None);
    }

    /// Whether all builds of a machine, with this one, are done within a second for each slot.
    fn is_short(&self, machine: &Machine, new: Job) -> bool {
        let running = machine.jobs.keys().filter(|job| !machine.is_delivering(job)).map(|&(job, _)| job).chain([new]);
        let builds: Vec<_> =
            running.filter_map(|job| if let Job::Build(id) = job { self.builds.get(&id) } else { None }).collect();
        let slots = machine.capabilities.build_slots;
        let all: Duration = builds.iter().map(|row| row.expected).sum();
        matches!(new, Job::Build(_)) && all <= seconds(slots.into()) && builds.len() <= 8 * slots as usize
    }

    fn obey_build(&mut self, id: BuildId, status: BuildStatus, epoch: Epoch, cause: Option<BuildId>) {
        let row = &self.builds[&id];
        assert!(row.status.can_become(status), "{id} goes from {} to {status}", row.status);
        let expected = if status == BuildStatus::Building { row.epoch.next() } else { row.epoch };
        assert_eq!(epoch, expected, "each assignment has the next epoch");
        assert_eq!(cause.is_some(), status == BuildStatus::DependencyFailed);
        if let Some(cause) = cause {
            assert_eq!(self.builds[&cause].status, BuildStatus::Failed, "the cause is a failure of its own");
            assert!(self.needs(id, cause), "the cause is something it needs");
        }
        let row = self.builds.get_mut(&id).unwrap();
        (row.status, row.epoch, row.owner) = (status, epoch, None);
    }

    fn needs(&self, id: BuildId, cause: BuildId) -> bool {
        self.builds[&id].dependencies.iter().any(|&dependency| dependency == cause || self.needs(dependency, cause))
    }

    fn obey_evaluation(&mut self, id: EvaluationId, status: EvaluationStatus, waiting: Option<&EvaluationWait>) {
        let row = self.evaluations.get_mut(&id).unwrap();
        assert_eq!(waiting.is_some(), status == EvaluationStatus::Waiting);
        // After a restart the reason is told again.
        let is_new_reason = row.status == status && status == EvaluationStatus::Waiting;
        assert!(is_new_reason || row.status.can_become(status), "{id} goes from {} to {status}", row.status);
        (row.status, row.waiting) = (status, waiting.cloned());
        let row = &self.evaluations[&id];
        let ended = |id: &BuildId| self.builds[id].status.is_final();
        match status {
            EvaluationStatus::Completed => {
                assert!(row.entry_point.is_some_and(|id| self.builds[&id].status.is_success()));
            }
            EvaluationStatus::Failed => assert!(row.members.iter().all(ended), "it fails at the end only"),
            _ => {}
        }
    }
}
