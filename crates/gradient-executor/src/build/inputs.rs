//! What a builder needs, brought to the local store.

use std::time::Duration;

use gradient_domain::{Failure, FailureKind};
use gradient_nix::StorePath;
use gradient_nix_daemon::{Error, PathInfo};
use gradient_protocol::InputPath;
use tokio::{io::AsyncRead, time::timeout};

use super::{
    daemons::{Daemons, HeldDaemon, soon},
    lost,
};
use crate::{job::failure, transfer::JobTransfer};

/// One input may take this long to come.
const INPUT_TIME: Duration = Duration::from_hours(6);

/// What keeps the inputs from being there.
enum Lack {
    Failed(Failure),
    /// These are there, with another content than everybody else has: an earlier run made them, and its result was not taken.
    Differ(Vec<StorePath>),
}

impl From<Failure> for Lack {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

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
            Err(Lack::Differ(paths)) if tries > 1 => {
                tries -= 1;
                drop(daemon);
                remove(daemons, &paths).await?;
            }
            Err(Lack::Differ(paths)) => return Err(cannot_remove(&paths, "it came again")),
            Err(Lack::Failed(error)) if error.kind.is_transient() && tries > 1 => {
                tracing::debug!(error = error.message, "inputs are tried again");
                tries -= 1;
                // One idle connection that has died is likely not the only one.
                daemons.drop_idle();
            }
            Err(Lack::Failed(error)) => return Err(error),
        }
    }
}

/// Removes paths over a connection that does not hold them.
async fn remove(daemons: &Daemons, paths: &[StorePath]) -> Result<(), Failure> {
    daemons.drop_idle();
    let mut other = daemons.open().await?;
    match soon(other.connection.delete(paths.iter())).await {
        Ok(_) => {
            tracing::warn!(paths = paths.len(), "inputs with another content than the server's are gone, and come from there");
            Ok(())
        }
        Err(error) => Err(cannot_remove(paths, &error.message)),
    }
}

fn cannot_remove(paths: &[StorePath], reason: &str) -> Failure {
    let names: Vec<_> = paths.iter().take(5).map(ToString::to_string).collect();
    let message =
        format!("the store of this worker has other contents of {} than the server, and keeps them: {reason}", names.join(", "));
    failure(FailureKind::InputsMissing, message)
}

async fn bring_over(daemon: &mut HeldDaemon, inputs: &[InputPath], transfer: &JobTransfer) -> Result<(), Lack> {
    // First the roots, then the question: what is there stays there.
    let new: Vec<&InputPath> = inputs.iter().filter(|input| !daemon.held.contains_key(&input.path)).collect();
    if !new.is_empty() {
        let paths: Vec<&StorePath> = new.iter().map(|input| &input.path).collect();
        soon(daemon.connection.add_temp_roots(&paths)).await?;
        let valid = soon(daemon.connection.query_valid_paths(paths.into_iter())).await?;
        let infos = soon(daemon.connection.query_path_infos(&valid.iter().collect::<Vec<_>>())).await?;
        daemon.held.extend(infos.into_iter().flatten().map(|info| (info.path, info.nar_hash)));
    }
    let differs = |input: &&InputPath| daemon.held.get(&input.path).is_some_and(|hash| *hash != input.nar_hash);
    let other: Vec<StorePath> = inputs.iter().filter(differs).map(|input| input.path.clone()).collect();
    if !other.is_empty() {
        return Err(Lack::Differ(other));
    }
    for input in inputs {
        if daemon.held.contains_key(&input.path) {
            continue;
        }
        match timeout(INPUT_TIME, add(daemon, input, transfer)).await {
            Ok(added) => added?,
            Err(_) => {
                return Err(failure(FailureKind::Transient, format!("{} did not come within 6 hours", input.path)).into());
            }
        }
        daemon.held.insert(input.path.clone(), input.nar_hash);
    }
    Ok(())
}

async fn add(daemon: &mut HeldDaemon, input: &InputPath, transfer: &JobTransfer) -> Result<(), Failure> {
    tracing::debug!(path = %input.path, bytes = input.nar_size, "bringing an input");
    let mut nar: Box<dyn AsyncRead + Send + Unpin> = match &input.upstream {
        Some(upstream) => transfer.get_upstream(input, upstream).await?,
        None => Box::new(transfer.get(&input.path).await?),
    };
    let info = PathInfo {
        path: input.path.clone(),
        deriver: input.deriver.clone(),
        nar_hash: input.nar_hash,
        nar_size: input.nar_size,
        references: input.references.clone(),
        registration_time: 0,
        ultimate: false,
        signatures: input.upstream.iter().map(|upstream| upstream.signature.clone()).collect(),
        content_address: input.content_address.clone(),
    };
    daemon.connection.add_to_store(&info, &mut nar).await.map_err(|error| match error {
        Error::Refused(_) | Error::NarSize { .. } | Error::Source(_) => {
            failure(FailureKind::InputsMissing, format!("{}: {}", input.path, lost(error).message))
        }
        error => lost(error),
    })
}
