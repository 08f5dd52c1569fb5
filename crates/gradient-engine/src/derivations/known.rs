//! What a worker need not send.

use std::collections::HashSet;

use gradient_domain::{DerivationId, Epoch, Job, Moment};
use gradient_nix::{InputDerivationHash, StorePath};
use gradient_storage::{Conn, derivations};

use crate::{Engine, EngineError, UploadError};

impl Engine {
    /// Those of the derivations that the organization has, with all that they need. They stay for as long as the evaluation may take
    /// to name them. `NotOwner` when the session with this token does not evaluate that.
    pub async fn known_derivations(
        &self,
        token: &str,
        job: Job,
        epoch: Epoch,
        asked: Vec<StorePath>,
    ) -> Result<Vec<StorePath>, UploadError> {
        let lease = self.lease_of(token, job, epoch)?;
        if !matches!(job, Job::Evaluate(_)) {
            return Err(UploadError::NotOwner { job, epoch });
        }
        let (organization, paths) = (lease.organization, asked.clone());
        // Nothing of it is removed before it is kept.
        let _looking = self.ingesting().read().await;
        let read = async move |conn: &mut Conn| derivations::known(conn, organization, &paths).await;
        let mut known = self.storage().read(read).await.map_err(EngineError::from)?;
        // Something is missing of what an earlier version stored of these.
        known.retain(|_, derivation| derivation.input_hash != InputDerivationHash::Deferred(None));
        let ids: Vec<DerivationId> = known.values().map(|derivation| derivation.id).collect();
        if !ids.is_empty() {
            let keep = async move |conn: &mut Conn| derivations::keep(conn, &ids, Moment::now()).await;
            self.storage().transaction(keep).await.map_err(EngineError::from)?;
        }
        let known: HashSet<StorePath> = known.into_keys().collect();
        Ok(asked.into_iter().filter(|path| known.contains(path)).collect())
    }
}
