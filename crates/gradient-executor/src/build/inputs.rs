//! What a builder needs, brought to the local store.

use std::time::Duration;

use gradient_domain::{Failure, FailureKind};
use gradient_nix::StorePath;
use gradient_nix_daemon::{Error, PathInfo};
use gradient_protocol::InputPath;
use tokio::time::timeout;

use super::{
    daemons::{Daemons, HeldDaemon, soon},
    lost,
};
use crate::{job::failure, transfer::JobTransfer};

/// One input may take this long to come.
const INPUT_TIME: Duration = Duration::from_hours(6);

/// Sees to it that all inputs are in the store, and gives the connection that keeps them there. A download that breaks off
/// takes its connection with it, so that what is left is tried again over another one.
pub(super) async fn bring(
    daemons: &Daemons,
    inputs: &[InputPath],
    transfer: &JobTransfer,
    tries: u32,
) -> Result<HeldDaemon, Failure> {
    let mut tries = tries;
    loop {
        let mut daemon = daemons.take().await?;
        match bring_over(&mut daemon, inputs, transfer).await {
            Ok(()) => return Ok(daemon),
            Err(error) if error.kind.is_transient() && tries > 1 => {
                tracing::debug!(error = error.message, "inputs are tried again");
                tries -= 1;
                // One idle connection that has died is likely not the only one.
                daemons.drop_idle();
            }
            Err(error) => return Err(error),
        }
    }
}

async fn bring_over(daemon: &mut HeldDaemon, inputs: &[InputPath], transfer: &JobTransfer) -> Result<(), Failure> {
    // First the roots, then the question: what is there stays there.
    let paths: Vec<&StorePath> = inputs.iter().map(|input| &input.path).filter(|path| !daemon.held.contains(path)).collect();
    if !paths.is_empty() {
        soon(daemon.connection.add_temp_roots(&paths)).await?;
        let valid = soon(daemon.connection.query_valid_paths(paths.into_iter())).await?;
        daemon.held.extend(valid);
    }
    for input in inputs {
        if daemon.held.contains(&input.path) {
            continue;
        }
        match timeout(INPUT_TIME, add(daemon, input, transfer)).await {
            Ok(added) => added?,
            Err(_) => return Err(failure(FailureKind::Transient, format!("{} did not come within 6 hours", input.path))),
        }
        daemon.held.insert(input.path.clone());
    }
    Ok(())
}

async fn add(daemon: &mut HeldDaemon, input: &InputPath, transfer: &JobTransfer) -> Result<(), Failure> {
    tracing::debug!(path = %input.path, bytes = input.nar_size, "bringing an input");
    let mut nar = transfer.get(&input.path).await?;
    let info = PathInfo {
        path: input.path.clone(),
        deriver: input.deriver.clone(),
        nar_hash: input.nar_hash,
        nar_size: input.nar_size,
        references: input.references.clone(),
        registration_time: 0,
        ultimate: false,
        signatures: Vec::new(),
        content_address: input.content_address.clone(),
    };
    daemon.connection.add_to_store(&info, &mut nar).await.map_err(|error| match error {
        Error::Refused(_) | Error::NarSize { .. } | Error::Source(_) => {
            failure(FailureKind::InputsMissing, format!("{}: {}", input.path, lost(error).message))
        }
        error => lost(error),
    })
}
