//! Outputs that are on their worker only: their builder has ended, and the bytes are on their way. Builds on the same worker may begin
//! with them.

use std::time::Duration;

use gradient_domain::{BuildId, Job, OrganizationId, WorkerId};
use gradient_nix::StorePath;
use gradient_protocol::BuiltOutput;
use gradient_storage::{
    Conn,
    paths::{self, OrganizationPath},
};

use crate::{
    Engine, EngineError,
    build_context::{BuildContext, Place},
    leases::Lease,
    publish,
};

/// The memory that they may take, in bytes; those of builds that have ended go when others need the room. Without its entry a build
/// that needs the output waits until it is durable.
const MAX_BYTES: u64 = 32 << 20;

/// How long one is known. Uploads that take longer keep dependents waiting, as all of them would without this.
const KEPT: Duration = Duration::from_hours(1);

/// What workers have said that they made.
#[derive(Debug)]
pub(crate) struct MadeOutputs(moka::sync::Cache<(OrganizationId, StorePath), MadeOutput>);

#[derive(Debug, Clone)]
struct MadeOutput {
    build: BuildId,
    lease: Lease,
    path: OrganizationPath,
}

impl MadeOutputs {
    pub(crate) fn new() -> Self {
        let weigh = |_: &(OrganizationId, StorePath), made: &MadeOutput| {
            u32::try_from(600 + 100 * made.path.references.len()).unwrap_or(u32::MAX)
        };
        Self(moka::sync::Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).time_to_live(KEPT).build())
    }
}

impl Engine {
    /// A worker has these outputs of a build in its store; whether other builds may be given to it with them.
    pub(crate) async fn note_made(&self, build: BuildId, lease: Lease, outputs: Vec<BuiltOutput>) -> Result<bool, EngineError> {
        if outputs.is_empty() {
            return Ok(false);
        }
        let context = self.build_context(build).await?;
        if context.resolution.is_some() {
            // What needs them learns where they are when they are durable.
            return Ok(false);
        }
        if let Err(refusal) = publish::check_made(&context, &outputs) {
            // Said again with the report that ends the build, where it is answered.
            tracing::warn!(%build, %refusal, "what a worker has made is not what it was asked for");
            return Ok(false);
        }
        for output in outputs {
            let address = context.output(&output.path).and_then(|expected| match &expected.place {
                Place::Known(_, fixed) => fixed.as_ref(),
                Place::ContentAddressed { .. } => None,
            });
            let path = OrganizationPath {
                path: output.path.clone(),
                nar_hash: output.nar_hash,
                nar_size: i64::try_from(output.nar_size).unwrap_or(i64::MAX),
                references: output.references,
                deriver: Some(context.drv_path.clone()),
                content_address: address.map(gradient_nix::CAHash::to_nix_string),
            };
            self.build_contexts().made().0.insert((lease.organization, output.path), MadeOutput { build, lease, path });
        }
        Ok(true)
    }

    /// The output that this worker has made and still holds.
    pub(crate) fn made_output(
        &self,
        organization: OrganizationId,
        worker: WorkerId,
        path: &StorePath,
    ) -> Option<OrganizationPath> {
        let made = self.build_contexts().made().0.get(&(organization, path.clone()))?;
        let lease = self.held_lease(Job::Build(made.build), made.lease.epoch, worker)?;
        (lease == made.lease).then_some(made.path)
    }

    /// Whether what a build was begun with early is by now what everybody has.
    pub(crate) async fn confirm_inputs(&self, context: &BuildContext) -> Result<(), EngineError> {
        if context.early_inputs.is_empty() {
            return Ok(());
        }
        let (organization, early) = (context.organization, context.early_inputs.clone());
        let durable =
            self.storage().read(async move |conn: &mut Conn| paths::find_many(conn, organization, &early).await).await?;
        for path in &context.early_inputs {
            let used = context.inputs.iter().find(|input| input.path == *path);
            let is_same =
                |durable: &OrganizationPath| durable.path == *path && used.is_some_and(|u| u.nar_hash == durable.nar_hash);
            if !durable.iter().any(is_same) {
                return Err(EngineError::InputsMissing(format!(
                    "{path}, with which the build began, was made anew or never came"
                )));
            }
        }
        Ok(())
    }
}
