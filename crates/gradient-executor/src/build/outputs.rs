//! What a build has made, and its way to the server.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gradient_domain::{Failure, FailureKind};
use gradient_nix::StorePath;
use gradient_nix_daemon::{BasicDerivation, BasicOutput};
use gradient_protocol::{BuildLimits, BuiltOutput};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::daemons::{Daemons, HeldDaemon, soon};
use crate::{
    job::failure,
    transfer::{Declaration, JobTransfer, NarFile},
};

/// How many outputs of one build are on their way at once.
const UPLOADS: usize = 4;

/// The content addresses of the outputs that have one, in Nix's notation.
pub(super) type ContentAddresses = HashMap<StorePath, String>;

/// When some outputs are in the store and others are not, removes those that are: built again they could differ, and Nix would
/// mix outputs of two runs. Of those whose paths follow from their content, none is known, and none is mixed.
pub(super) async fn remove_leftovers(
    daemons: &Daemons,
    daemon: &mut HeldDaemon,
    derivation: &BasicDerivation,
) -> Result<(), Failure> {
    let outputs: Vec<&StorePath> = derivation.outputs.values().filter_map(BasicOutput::path).collect();
    let valid: HashSet<StorePath> =
        soon(daemon.connection.query_valid_paths(outputs.iter().copied())).await?.into_iter().collect();
    if valid.is_empty() || valid.len() == outputs.len() {
        return Ok(());
    }
    // An idle connection may have built them, and still hold the temporary roots that keep them from being removed.
    daemons.drop_idle();
    let mut other = daemons.open().await?;
    soon(other.connection.delete(valid.iter())).await?;
    tracing::info!(removed = valid.len(), "outputs of an earlier, incomplete build are gone");
    Ok(())
}

/// Tells what the outputs are, when all of them are there and not larger than allowed. Nix has `told` where those went whose paths
/// were not known.
pub(super) async fn describe(
    daemon: &mut HeldDaemon,
    derivation: &BasicDerivation,
    told: &BTreeMap<String, StorePath>,
    limits: &BuildLimits,
) -> Result<(Vec<BuiltOutput>, ContentAddresses), Failure> {
    let mut built = Vec::with_capacity(derivation.outputs.len());
    let mut addresses = ContentAddresses::new();
    let mut bytes = 0_u64;
    for (name, output) in &derivation.outputs {
        let unknown = || failure(FailureKind::Transient, format!("Nix does not say where output `{name}` went"));
        let path = output.path().or_else(|| told.get(name)).ok_or_else(unknown)?;
        soon(daemon.connection.add_temp_root(path)).await?;
        let info = soon(daemon.connection.query_path_info(path)).await?;
        let info = info.ok_or_else(|| failure(FailureKind::Transient, format!("{path} is gone again after it was built")))?;
        daemon.held.insert(path.clone(), info.nar_hash);
        bytes = bytes.saturating_add(info.nar_size);
        addresses.extend(info.content_address.map(|address| (path.clone(), address)));
        built.push(BuiltOutput {
            name: name.clone(),
            path: path.clone(),
            nar_hash: info.nar_hash,
            nar_size: info.nar_size,
            references: info.references,
        });
    }
    match limits.max_output_bytes {
        Some(limit) if bytes > limit => {
            let message = format!("the outputs have {bytes} bytes, more than the {limit} that are allowed");
            Err(failure(FailureKind::OutputLimit, message))
        }
        _ => Ok((built, addresses)),
    }
}

/// Takes the outputs to the server, several at a time.
pub(super) async fn upload_all(
    daemons: &Daemons,
    budget: &UploadBudget,
    outputs: &[BuiltOutput],
    addresses: &ContentAddresses,
    transfer: &JobTransfer,
) -> Result<(), Failure> {
    stream::iter(outputs)
        .map(Ok)
        .try_for_each_concurrent(UPLOADS, |output| async {
            let _room = budget.room_for(output.nar_size).await?;
            upload(daemons, output, addresses.get(&output.path), transfer).await
        })
        .await
}

/// How many bytes may be on their way out at once, for all builds of a machine. One that is larger than all of it goes alone.
#[derive(Debug, Clone)]
pub struct UploadBudget {
    mebibytes: Arc<Semaphore>,
}

impl UploadBudget {
    /// All of it.
    const MEBIBYTES: u16 = 1024;

    async fn room_for(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Failure> {
        let wanted = u32::try_from(bytes >> 20).unwrap_or(u32::MAX).clamp(1, u32::from(Self::MEBIBYTES));
        let room = Arc::clone(&self.mebibytes).acquire_many_owned(wanted).await;
        room.map_err(|error| failure(FailureKind::Transient, error))
    }
}

impl Default for UploadBudget {
    fn default() -> Self {
        Self { mebibytes: Arc::new(Semaphore::new(usize::from(Self::MEBIBYTES))) }
    }
}

/// Takes one output to the server, which verifies it.
async fn upload(
    daemons: &Daemons,
    output: &BuiltOutput,
    address: Option<&String>,
    transfer: &JobTransfer,
) -> Result<(), Failure> {
    tracing::debug!(path = %output.path, bytes = output.nar_size, "uploading an output");
    let declaration =
        address.map(|address| Declaration { content_address: address.clone(), references: output.references.clone() });
    Ok(transfer.put(&output.path, &NarFile::new(daemons.nix().real_path(&output.path)), declaration.as_ref()).await?)
}
