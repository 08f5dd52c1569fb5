//! Uploads of NARs that come in pieces. What came so far is in the store of blobs.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, ChunkedUploadId, Moment, UserId};

use crate::{Conn, StorageError, conn::query, schema::chunked_uploads};

/// An upload that is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = chunked_uploads)]
pub struct ChunkedUpload {
    /// Its id.
    pub id: ChunkedUploadId,
    /// The cache that it is for.
    pub cache: CacheId,
    /// Whose it is.
    pub uploader: UserId,
    /// The name of the file that it becomes.
    pub name: String,
    /// When it began.
    pub created_at: Moment,
}

/// Notes one that begins.
pub async fn insert(conn: &mut Conn, upload: &ChunkedUpload) -> Result<(), StorageError> {
    query!(conn, |c| diesel::insert_into(chunked_uploads::table).values(upload).execute(c).await?);
    Ok(())
}

/// Somebody's upload to a cache.
pub async fn lookup(
    conn: &mut Conn,
    cache: CacheId,
    uploader: UserId,
    id: ChunkedUploadId,
) -> Result<Option<ChunkedUpload>, StorageError> {
    Ok(query!(conn, |c| {
        let one = chunked_uploads::table.find(id).filter(chunked_uploads::cache.eq(cache));
        let one = one.filter(chunked_uploads::uploader.eq(uploader));
        one.select(ChunkedUpload::as_select()).first(c).await.optional()?
    }))
}

/// How many somebody has on the way to a cache.
pub async fn count(conn: &mut Conn, cache: CacheId, uploader: UserId) -> Result<i64, StorageError> {
    Ok(query!(conn, |c| {
        let all = chunked_uploads::table.filter(chunked_uploads::cache.eq(cache)).filter(chunked_uploads::uploader.eq(uploader));
        all.count().get_result(c).await?
    }))
}

/// Those that are on the way at all.
pub async fn all(conn: &mut Conn) -> Result<Vec<ChunkedUploadId>, StorageError> {
    Ok(query!(conn, |c| chunked_uploads::table.select(chunked_uploads::id).load(c).await?))
}

/// Forgets one.
pub async fn delete(conn: &mut Conn, id: ChunkedUploadId) -> Result<(), StorageError> {
    query!(conn, |c| diesel::delete(chunked_uploads::table.find(id)).execute(c).await?);
    Ok(())
}

/// Forgets those that began before a time.
pub async fn delete_older(conn: &mut Conn, before: Moment) -> Result<(), StorageError> {
    query!(conn, |c| { diesel::delete(chunked_uploads::table.filter(chunked_uploads::created_at.lt(before))).execute(c).await? });
    Ok(())
}
