//! Uploads to caches of which nothing came.

use std::{collections::HashSet, time::Duration};

use gradient_domain::{ChunkedUploadId, Moment};
use gradient_storage::{Conn, chunked_uploads, pending_paths, uploaded_nars};

use super::{ROWS, step};
use crate::{Engine, EngineError, cache_uploads::MAX_AGE};

/// How long a path waits for what it refers to, and an uploaded NAR for a narinfo that names it.
const PATIENCE: Duration = Duration::from_hours(24);

/// Forgets what waits for too long, and removes what came of uploads in pieces that nobody finished.
pub(super) async fn expired(engine: &Engine, now: Moment) -> Result<(), EngineError> {
    engine.forget_pieces();
    let before = now.minus(PATIENCE);
    while step(engine, async move |conn: &mut Conn| pending_paths::delete_older(conn, before, ROWS).await).await? > 0 {}
    while step(engine, async move |conn: &mut Conn| uploaded_nars::delete_older(conn, before, ROWS).await).await? > 0 {}
    // Before the rows are read: each of these files had its row before.
    let files = engine.blobs().partials().list().await?;
    let begun = now.minus(MAX_AGE);
    step(engine, async move |conn: &mut Conn| chunked_uploads::delete_older(conn, begun).await).await?;
    let known = engine.storage().read(async |conn: &mut Conn| chunked_uploads::all(conn).await).await?;
    let known: HashSet<ChunkedUploadId> = known.into_iter().collect();
    for file in files {
        if !known.contains(&ChunkedUploadId::from_uuid(file)) {
            engine.blobs().partials().remove(file).await?;
        }
    }
    Ok(())
}
