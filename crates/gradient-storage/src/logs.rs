//! The logs of running attempts, as rows; what is stored here is durable. Ended ones become one blob each.

use diesel::{
    dsl::{max, sql},
    prelude::*,
    sql_types::BigInt,
};
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, Epoch};

use crate::{Conn, StorageError, conn::query, schema::log_chunks};

/// Appends to a log what it lacks of `bytes`, which belong at `offset`. Answers where the log ends then: before `offset` when
/// something is missing in between, and nothing was stored. To be called in a transaction.
pub async fn append(conn: &mut Conn, build: BuildId, epoch: Epoch, offset: u64, mut bytes: Vec<u8>) -> Result<u64, StorageError> {
    let stored = length(conn, build, epoch).await?;
    let end = offset.saturating_add(bytes.len() as u64);
    if stored < offset || end <= stored {
        return Ok(stored);
    }
    // Sent again, with more behind it.
    bytes.drain(..usize::try_from(stored - offset).unwrap_or(usize::MAX).min(bytes.len()));
    query!(conn, |c| {
        let row = (
            log_chunks::build.eq(build),
            log_chunks::epoch.eq(epoch),
            log_chunks::offset.eq(signed(stored)),
            log_chunks::bytes.eq(bytes),
        );
        diesel::insert_into(log_chunks::table).values(row).execute(c).await?
    });
    Ok(end)
}

/// Bytes of a log from `from` on, at most `limit`.
pub async fn read(conn: &mut Conn, build: BuildId, epoch: Epoch, from: u64, limit: u64) -> Result<Vec<u8>, StorageError> {
    let end = from.saturating_add(limit);
    let first: Option<Option<i64>> = query!(&mut *conn, |c| {
        let chunks = log_chunks::table.filter(log_chunks::build.eq(build)).filter(log_chunks::epoch.eq(epoch));
        chunks.filter(log_chunks::offset.le(signed(from))).select(max(log_chunks::offset)).first(c).await.optional()?
    });
    let Some(Some(first)) = first else { return Ok(Vec::new()) };
    let chunks: Vec<(i64, Vec<u8>)> = query!(conn, |c| {
        log_chunks::table
            .filter(log_chunks::build.eq(build))
            .filter(log_chunks::epoch.eq(epoch))
            .filter(log_chunks::offset.ge(first))
            .filter(log_chunks::offset.lt(signed(end)))
            .order(log_chunks::offset)
            .select((log_chunks::offset, log_chunks::bytes))
            .load(c)
            .await?
    });
    let mut bytes = Vec::new();
    for (offset, chunk) in chunks {
        let place = |at: u64| usize::try_from(at.saturating_sub(offset.cast_unsigned())).unwrap_or(usize::MAX).min(chunk.len());
        bytes.extend_from_slice(chunk.get(place(from)..place(end)).unwrap_or_default());
    }
    Ok(bytes)
}

/// Where a log ends.
pub async fn length(conn: &mut Conn, build: BuildId, epoch: Epoch) -> Result<u64, StorageError> {
    let last: Option<i64> = query!(conn, |c| {
        let chunks = log_chunks::table.filter(log_chunks::build.eq(build)).filter(log_chunks::epoch.eq(epoch));
        let end = sql::<BigInt>("\"offset\" + length(bytes)");
        chunks.order(log_chunks::offset.desc()).select(end).first(c).await.optional()?
    });
    Ok(last.unwrap_or(0).cast_unsigned())
}

/// Removes the rows of a log.
pub async fn delete_chunks(conn: &mut Conn, build: BuildId, epoch: Epoch) -> Result<usize, StorageError> {
    Ok(query!(conn, |c| {
        let chunks = log_chunks::table.filter(log_chunks::build.eq(build)).filter(log_chunks::epoch.eq(epoch));
        diesel::delete(chunks).execute(c).await?
    }))
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
