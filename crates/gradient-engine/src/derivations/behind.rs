//! What ended builds needed: shown with each evaluation that uses them, and kept as long as one does.

use gradient_domain::DerivationId;
use gradient_nix::StorePath;
use gradient_storage::{Conn, builds, derivations};

use super::{STEPS, found::Memory, store::Store};
use crate::{Engine, EngineError};

/// Links the evaluation with the builds of these derivations that have succeeded, and with what they needed, level by level. The
/// derivations themselves are not read.
pub(super) async fn link(engine: &Engine, store: Store, memory: &mut Memory, paths: Vec<StorePath>) -> Result<(), EngineError> {
    if paths.is_empty() {
        return Ok(());
    }
    let organization = store.organization;
    let known = engine.storage().read(async move |conn: &mut Conn| derivations::known(conn, organization, &paths).await).await?;
    let mut wave: Vec<DerivationId> = known.into_values().map(|known| known.id).collect();
    loop {
        wave.retain(|id| memory.behind.insert(*id));
        if wave.is_empty() {
            return Ok(());
        }
        let level = engine.storage().read(async move |conn: &mut Conn| builds::succeeded(conn, &wave).await).await?;
        for chunk in level.builds.chunks(STEPS) {
            let (linked, evaluation, now) = (chunk.to_vec(), store.evaluation, store.now);
            let link = async move |conn: &mut Conn| builds::link(conn, evaluation, &linked, now).await;
            engine.storage().transaction(link).await?;
        }
        wave = level.inputs;
    }
}
