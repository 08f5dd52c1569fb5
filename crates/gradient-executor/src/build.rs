//! Builds one derivation: brings its inputs to the local store, lets Nix's daemon run the builder, and takes the outputs to the
//! server.

mod check;
mod daemons;
mod inputs;
mod log;
mod outputs;
mod verdict;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use gradient_domain::{Failure, FailureKind};
use gradient_nix::{Derivation, StorePath};
use gradient_nix_daemon::{BasicDerivation, Connection, Error, Options};
use gradient_protocol::{BuildLimits, BuildTask, InputPath, Report};

pub use check::CheckError;
pub use daemons::Daemons;
use daemons::soon;
pub use outputs::UploadBudget;

use tokio::sync::Semaphore;

use crate::{
    job::{self, JobContext, failure},
    transfer::JobTransfer,
};

/// How often the inputs are tried to be brought, each time over another connection.
const INPUT_TRIES: u32 = 3;

/// Builds and gives the report that says so. Dropping the future ends the builder.
pub(crate) async fn run(
    daemons: &Daemons,
    uploads: &UploadBudget,
    task: BuildTask,
    context: &JobContext,
    slots: &Arc<Semaphore>,
) -> Result<Report, Failure> {
    let derivation = parse(&task)?;
    let makers = context.makers(&task.inputs);
    let mut daemon = inputs::bring(daemons, &task.inputs, context.transfer(), INPUT_TRIES).await?;
    let slot = job::slot(slots).await?;
    outputs::remove_leftovers(daemons, &mut daemon, &derivation).await?;
    context.report(Report::Started {}).await?;
    let building = Instant::now();
    let options = options(&task.limits, &derivation, daemons.nix().cores());
    soon(daemon.connection.set_options(&options)).await?;
    let told = build(&mut daemon.connection, &task.derivation, &derivation, &task.limits, context).await?;
    let build_ms = u64::try_from(building.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (outputs, addresses) = outputs::describe(&mut daemon, &derivation, &told, &task.limits).await?;
    drop(slot);
    context.made(&outputs).await?;
    outputs::upload_all(daemons, uploads, &outputs, &addresses, context.transfer()).await?;
    // What this was built with has to be the server's first.
    context.over(&makers).await;
    // Only now: the connection's temporary roots kept inputs and outputs from the garbage collector.
    daemons.put_back(daemon);
    Ok(Report::Built { outputs, build_ms, log_bytes: context.log_bytes() })
}

/// Sees to it that all of these are in the store. Who wants them to stay has to hold them.
pub(crate) async fn bring(daemons: &Daemons, inputs: &[InputPath], transfer: &JobTransfer) -> Result<(), Failure> {
    let daemon = inputs::bring(daemons, inputs, transfer, INPUT_TRIES).await?;
    daemons.put_back(daemon);
    Ok(())
}

fn parse(task: &BuildTask) -> Result<BasicDerivation, Failure> {
    let unfit = |error: String| failure(FailureKind::UnsupportedDerivation, error);
    let path = &task.derivation;
    let name = path.name().strip_suffix(".drv").ok_or_else(|| unfit(format!("{path} does not end in .drv")))?;
    let derivation = Derivation::from_aterm_bytes(&task.aterm, name)
        .map_err(|error| unfit(format!("{path} is not a derivation that can be read: {error}")))?;
    let inputs = task.inputs.iter().map(|input| input.path.clone());
    BasicDerivation::new(&derivation, inputs).map_err(|error| unfit(format!("{path}: {error}")))
}

/// Runs the builder; what Nix says of where the outputs went.
async fn build(
    connection: &mut Connection,
    path: &StorePath,
    derivation: &BasicDerivation,
    limits: &BuildLimits,
    context: &JobContext,
) -> Result<BTreeMap<String, StorePath>, Failure> {
    let running = connection.build_derivation(path, derivation).await.map_err(lost)?;
    let log::Ended { result, quiet } = log::follow(running, limits.max_log_bytes, context).await?;
    if result.status.is_success() {
        return Ok(result.outputs);
    }
    let was_silent = limits.max_silent_secs.is_some_and(|limit| quiet >= Duration::from_secs(limit.max(1)));
    Err(verdict::of(&result, was_silent))
}

fn options(limits: &BuildLimits, derivation: &BasicDerivation, cores: u64) -> Options {
    // Nix's own builders tell it of their progress where others print, and it counts that; the lines are counted here in any case.
    let is_own = derivation.builder.starts_with("builtin:");
    Options {
        cores,
        timeout: limits.timeout_secs.map(Duration::from_secs),
        max_silent: limits.max_silent_secs.map(Duration::from_secs),
        max_log_bytes: (!is_own).then_some(limits.max_log_bytes),
        ..Options::default()
    }
}

/// The daemon does not do what it is asked to: nothing that the derivation could be blamed for.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
fn lost(error: Error) -> Failure {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    failure(FailureKind::Transient, message)
}

#[cfg(test)]
mod tests;
