//! What a build has made, and its way to the server.

use std::collections::HashSet;

use gradient_domain::{Failure, FailureKind};
use gradient_nix::StorePath;
use gradient_nix_daemon::Connection;
use gradient_protocol::{BuildLimits, BuiltOutput};

use super::daemons::{Daemons, HeldDaemon, soon};
use crate::{
    job::failure,
    transfer::{JobTransfer, NarFile},
};

/// An output's name and path.
type Output = (String, StorePath);

/// When some outputs are in the store and others are not, removes those that are: built again they could differ, and Nix would
/// mix outputs of two runs.
pub(super) async fn remove_leftovers(daemons: &Daemons, daemon: &mut HeldDaemon, outputs: &[Output]) -> Result<(), Failure> {
    let valid = valid(&mut daemon.connection, outputs).await?;
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

/// Tells what the outputs are, when all of them are there and not larger than allowed.
pub(super) async fn describe(
    connection: &mut Connection,
    outputs: &[Output],
    limits: &BuildLimits,
) -> Result<Vec<BuiltOutput>, Failure> {
    let mut built = Vec::with_capacity(outputs.len());
    let mut bytes = 0_u64;
    for (name, path) in outputs {
        soon(connection.add_temp_root(path)).await?;
        let info = soon(connection.query_path_info(path)).await?;
        let info = info.ok_or_else(|| failure(FailureKind::Transient, format!("{path} is gone again after it was built")))?;
        bytes = bytes.saturating_add(info.nar_size);
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
        _ => Ok(built),
    }
}

/// Takes one output to the server, which verifies it.
pub(super) async fn upload(daemons: &Daemons, output: &BuiltOutput, transfer: &JobTransfer) -> Result<(), Failure> {
    tracing::debug!(path = %output.path, bytes = output.nar_size, "uploading an output");
    Ok(transfer.put(&output.path, &NarFile::new(daemons.nix().real_path(&output.path)), None).await?)
}

async fn valid(connection: &mut Connection, outputs: &[Output]) -> Result<HashSet<StorePath>, Failure> {
    let paths: Vec<&StorePath> = outputs.iter().map(|(_, path)| path).collect();
    Ok(soon(connection.query_valid_paths(paths.into_iter())).await?.into_iter().collect())
}
