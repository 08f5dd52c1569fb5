//! What a job asks of its organization's scope, for many paths at once.

use std::collections::BTreeSet;

use gradient_nix::StorePath;
use gradient_protocol::{
    InputPath,
    transfer::{Inputs, Known, Missing, Paths, job_inputs, job_known, job_missing},
};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;

use super::{JobTransfer, TransferError, chain};

/// How many paths one question may name.
const MAX_PATHS: usize = 10_000;

impl JobTransfer {
    /// Which of the paths the organization's scope lacks.
    pub(crate) async fn missing(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>, TransferError> {
        let mut missing = BTreeSet::new();
        for part in paths.chunks(MAX_PATHS) {
            let answer: Missing = self.ask("a question for missing paths", &job_missing(self.job, self.epoch), part).await?;
            missing.extend(answer.missing);
        }
        Ok(missing)
    }

    /// Which of the derivations the server has, with all that they need. Nothing when it is of an earlier version, which does not say.
    pub(crate) async fn known(&self, derivations: &[StorePath]) -> Result<Option<BTreeSet<StorePath>>, TransferError> {
        let mut known = BTreeSet::new();
        for part in derivations.chunks(MAX_PATHS) {
            let answer = self.ask::<Known>("a question for known derivations", &job_known(self.job, self.epoch), part).await;
            match answer {
                Ok(answer) => known.extend(answer.known),
                Err(TransferError::Refused { status: StatusCode::NOT_FOUND, .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(known))
    }

    /// How to get those of the paths that can be had with all that they refer to, and that; references first.
    pub(crate) async fn inputs(&self, paths: &[StorePath]) -> Result<Vec<InputPath>, TransferError> {
        let mut inputs = Vec::new();
        for part in paths.chunks(MAX_PATHS) {
            let answer =
                self.ask::<Inputs>("a question for what is imported from", &job_inputs(self.job, self.epoch), part).await;
            match answer {
                Ok(answer) => inputs.extend(answer.inputs),
                // It is of an earlier version, which does not say.
                Err(TransferError::Refused { status: StatusCode::NOT_FOUND, .. }) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        Ok(inputs)
    }

    async fn ask<A: DeserializeOwned>(&self, what: &str, route: &str, paths: &[StorePath]) -> Result<A, TransferError> {
        let question = Paths { paths: paths.to_vec() };
        let response = self.transfer.send(what, route, |client, url| client.post(url).json(&question)).await?;
        response.json().await.map_err(|error| TransferError::Unreachable(chain(&error)))
    }
}
