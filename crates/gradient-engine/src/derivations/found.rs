//! What an evaluation has found, so that what most of it needs is not looked up again for each part.

use std::collections::HashMap;

use gradient_domain::{Epoch, EvaluationId};
use gradient_nix::StorePath;
use gradient_storage::{builds::LatestBuild, derivations::KnownDerivation};

/// Of how many derivations one worker's evaluation is remembered, some 30 MB; of a larger one all is forgotten now and then.
const MAX_DERIVATIONS: usize = 100_000;

/// Derivations that an evaluation is linked to, with the builds that it needs and where those stood at that time.
pub(crate) type Derivations = HashMap<StorePath, (KnownDerivation, LatestBuild)>;

/// What the evaluation has found that a worker is at.
#[derive(Debug, Default)]
pub(crate) struct Found {
    of: Option<(EvaluationId, Epoch)>,
    derivations: Derivations,
}

impl Found {
    /// What this assignment has found; nothing is left here until it is [kept](Self::keep).
    pub(super) fn take_of(&mut self, evaluation: EvaluationId, epoch: Epoch) -> Derivations {
        let Self { of, derivations } = std::mem::take(self);
        if of == Some((evaluation, epoch)) { derivations } else { Derivations::new() }
    }

    /// Keeps what is durable now.
    pub(super) fn keep(&mut self, evaluation: EvaluationId, epoch: Epoch, derivations: Derivations) {
        if derivations.len() <= MAX_DERIVATIONS {
            *self = Self { of: Some((evaluation, epoch)), derivations };
        }
    }
}
