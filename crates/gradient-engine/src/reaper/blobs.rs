//! NARs and logs that no row refers to any more.
//!
//! A NAR dies in two phases: it is condemned, and after a grace its row goes and its hash comes onto a list, in one transaction.
//! Then the file goes, unless the NAR has come again: uploads and this take turns for each hash.

use gradient_blobs::BlobKey;
use gradient_domain::Moment;
use gradient_nix::NarHash;
use gradient_storage::{Conn, nars, remains};

use super::{ROWS, step};
use crate::{Engine, EngineError};

/// Condemns what nobody has, and spares what somebody has again.
pub(super) async fn condemn_nars(engine: &Engine, now: Moment) -> Result<(), EngineError> {
    while step(engine, async |conn: &mut Conn| remains::spare_nars(conn, ROWS).await).await? > 0 {}
    let mut after = None;
    loop {
        let find = async move |conn: &mut Conn| remains::unneeded_nars(conn, after, ROWS).await;
        let found = engine.storage().read(find).await?;
        let Some(last) = found.last().copied() else { return Ok(()) };
        after = Some(last);
        step(engine, async move |conn: &mut Conn| remains::condemn_nars(conn, &found, now).await).await?;
    }
}

/// Removes what was condemned before a time.
pub(super) async fn remove_nars(engine: &Engine, condemned_before: Moment) -> Result<(), EngineError> {
    while step(engine, async move |conn: &mut Conn| remains::discard_nars(conn, condemned_before, ROWS).await).await? > 0 {}
    loop {
        let discarded = engine.storage().read(async |conn: &mut Conn| remains::discarded_nars(conn, ROWS).await).await?;
        if discarded.is_empty() {
            return Ok(());
        }
        for hash in discarded {
            remove_nar(engine, hash).await?;
        }
    }
}

async fn remove_nar(engine: &Engine, hash: NarHash) -> Result<(), EngineError> {
    let _turn = engine.turn_at(&hash).await;
    if engine.storage().read(async move |conn: &mut Conn| nars::lookup(conn, hash).await).await?.is_none() {
        // Whoever finds the NAR finds its listing too.
        engine.blobs().delete(&BlobKey::nar(&hash)).await?;
        engine.blobs().delete(&BlobKey::listing(&hash)).await?;
    }
    Ok(engine.storage().write(async move |conn: &mut Conn| remains::forget_discarded_nar(conn, hash).await).await?)
}

/// Removes the logs of builds that are gone.
pub(super) async fn remove_logs(engine: &Engine) -> Result<(), EngineError> {
    loop {
        let discarded = engine.storage().read(async |conn: &mut Conn| remains::discarded_logs(conn, ROWS).await).await?;
        if discarded.is_empty() {
            return Ok(());
        }
        for (build, epoch) in discarded {
            engine.blobs().delete(&BlobKey::log(build.uuid(), epoch.0)).await?;
            engine.storage().write(async move |conn: &mut Conn| remains::forget_discarded_log(conn, build, epoch).await).await?;
        }
    }
}
