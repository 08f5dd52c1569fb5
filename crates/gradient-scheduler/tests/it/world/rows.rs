//! What the database says of its rows.

use gradient_domain::{BuildId, BuildStatus, EvaluationId};
use gradient_scheduler::{BuildState, NewBuild, NewEvaluation};

use super::{BuildRow, EvaluationRow};

impl BuildRow {
    pub(super) fn event(&self, id: BuildId) -> NewBuild {
        let state = match (self.status, self.owner) {
            (BuildStatus::Building, Some(worker)) => BuildState::Leased { epoch: self.epoch, worker },
            (BuildStatus::Queued, _) => BuildState::Queued { epoch: self.epoch },
            (status, _) => BuildState::Ended(status),
        };
        NewBuild {
            build: id,
            organization: self.organization,
            system: self.system.to_owned(),
            features: self.features.clone(),
            dependencies: self.dependencies.clone(),
            expected: self.expected,
            state,
        }
    }
}

impl EvaluationRow {
    pub(super) fn event(&self, id: EvaluationId) -> NewEvaluation {
        NewEvaluation {
            evaluation: id,
            organization: self.organization,
            priority: self.priority,
            status: self.status,
            stage: self.stage,
            job_epoch: self.epoch,
            lease: self.owner,
        }
    }
}
