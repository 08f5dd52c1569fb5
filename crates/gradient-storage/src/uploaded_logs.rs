//! Logs of builds that were made elsewhere and uploaded to a cache.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, CacheId, Epoch, Moment, UploadedLogId};
use gradient_nix::StorePath;

use crate::{
    Conn, StorageError,
    conn::query,
    schema::{discarded_logs, uploaded_logs},
};

/// Keeps the log of a derivation, whose blob is there already; the one before goes.
pub async fn set(
    conn: &mut Conn,
    cache: CacheId,
    derivation: &StorePath,
    id: UploadedLogId,
    size: i64,
    now: Moment,
) -> Result<(), StorageError> {
    let before: Vec<UploadedLogId> =
        query!(&mut *conn, |c| { uploaded_logs::table.find((cache, derivation)).select(uploaded_logs::id).load(c).await? });
    for before in before {
        discard(conn, before).await?;
    }
    query!(conn, |c| {
        let value = (uploaded_logs::id.eq(id), uploaded_logs::size.eq(size), uploaded_logs::created_at.eq(now));
        diesel::insert_into(uploaded_logs::table)
            .values((uploaded_logs::cache.eq(cache), uploaded_logs::derivation.eq(derivation), value))
            .on_conflict((uploaded_logs::cache, uploaded_logs::derivation))
            .do_update()
            .set(value)
            .execute(c)
            .await?
    });
    Ok(())
}

/// The log of a derivation, and its size in bytes.
pub async fn lookup(
    conn: &mut Conn,
    cache: CacheId,
    derivation: &StorePath,
) -> Result<Option<(UploadedLogId, i64)>, StorageError> {
    Ok(query!(conn, |c| {
        let one = uploaded_logs::table.find((cache, derivation));
        one.select((uploaded_logs::id, uploaded_logs::size)).first(c).await.optional()?
    }))
}

/// Puts the blob of a log on the list of what the store has to lose. It is named like the first attempt at a build of that id.
pub(crate) async fn discard(conn: &mut Conn, id: UploadedLogId) -> Result<(), StorageError> {
    query!(conn, |c| {
        let row = (discarded_logs::build.eq(BuildId::from_uuid(id.uuid())), discarded_logs::epoch.eq(Epoch(0)));
        diesel::insert_into(discarded_logs::table).values(row).on_conflict_do_nothing().execute(c).await?
    });
    Ok(())
}
