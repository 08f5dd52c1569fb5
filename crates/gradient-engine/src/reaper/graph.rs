//! Builds, derivations and commits that no evaluation needs any more.

use std::collections::BTreeSet;

use gradient_domain::{DerivationId, Moment};
use gradient_storage::{Conn, remains};

use super::{ROWS, step};
use crate::{Engine, EngineError};

/// Removes builds, and the derivations that then have none.
pub(super) async fn builds(engine: &Engine, ended_before: Moment, kept_before: Moment) -> Result<(), EngineError> {
    let mut after = None;
    loop {
        let find = async move |conn: &mut Conn| remains::unneeded_builds(conn, ended_before, after, ROWS).await;
        let found = engine.storage().read(find).await?;
        let Some(last) = found.last().copied() else { return Ok(()) };
        after = Some(last);
        let remove = async move |conn: &mut Conn| remains::delete_builds(conn, &found, ended_before).await;
        unneeded(engine, step(engine, remove).await?, kept_before).await?;
    }
}

/// Removes derivations that a pass before this one did not come to.
pub(super) async fn derivations(engine: &Engine, kept_before: Moment) -> Result<(), EngineError> {
    let mut after = None;
    loop {
        let find = async move |conn: &mut Conn| remains::unneeded_derivations(conn, kept_before, after, ROWS).await;
        let found = engine.storage().read(find).await?;
        let Some(last) = found.last().copied() else { return Ok(()) };
        after = Some(last);
        unneeded(engine, found, kept_before).await?;
    }
}

/// Removes those of the derivations that nothing needs, and then what they needed.
async fn unneeded(engine: &Engine, candidates: Vec<DerivationId>, kept_before: Moment) -> Result<(), EngineError> {
    let mut open: BTreeSet<DerivationId> = candidates.into_iter().collect();
    while !open.is_empty() {
        let chunk: Vec<DerivationId> = open.iter().copied().take(usize::try_from(ROWS).unwrap_or(1)).collect();
        for id in &chunk {
            open.remove(id);
        }
        let inputs = {
            // Nobody has looked at derivations and is about to refer to them.
            let _alone = engine.ingesting().write().await;
            let delete = async move |conn: &mut Conn| remains::delete_derivations(conn, &chunk, kept_before).await;
            engine.storage().transaction(delete).await?
        };
        open.extend(inputs);
    }
    Ok(())
}

/// Removes what outputs turned out to be, where no derivation that is kept has them and no cache of the organization publishes them:
/// only claims of caches ask for it, and they begin at the outputs of derivations.
pub(super) async fn realisations(engine: &Engine, set_before: Moment) -> Result<(), EngineError> {
    let mut after = None;
    loop {
        let last = after.clone();
        let find = async move |conn: &mut Conn| remains::orphaned_realisations(conn, set_before, last.as_ref(), ROWS).await;
        let found = engine.storage().read(find).await?;
        after = found.last().cloned();
        if after.is_none() {
            return Ok(());
        }
        step(engine, async move |conn: &mut Conn| remains::delete_realisations(conn, &found, set_before).await).await?;
    }
}

/// Removes commits.
pub(super) async fn commits(engine: &Engine, seen_before: Moment) -> Result<(), EngineError> {
    let mut after = None;
    loop {
        let find = async move |conn: &mut Conn| remains::unneeded_commits(conn, seen_before, after, ROWS).await;
        let found = engine.storage().read(find).await?;
        let Some(last) = found.last().copied() else { return Ok(()) };
        after = Some(last);
        step(engine, async move |conn: &mut Conn| remains::delete_commits(conn, &found, seen_before).await).await?;
    }
}
