//! NARs that clients uploaded to a cache before they said which paths they are the content of. They are their uploader's only.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, Moment, UserId};
use gradient_nix::NarHash;

use crate::{
    Conn, StorageError,
    conn::query,
    schema::{nars, uploaded_nars},
};

/// A NAR that somebody uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Insertable)]
#[diesel(table_name = uploaded_nars)]
pub struct NewUploadedNar {
    /// The cache that it is for.
    pub cache: CacheId,
    /// Who uploaded it.
    pub uploader: UserId,
    /// The name of its file.
    pub name: String,
    /// The hash of the NAR, which is stored.
    pub nar_hash: NarHash,
    /// The hash of what was sent, which may have been compressed in another way than what is stored.
    pub sent_hash: NarHash,
    /// Its size in bytes.
    pub sent_size: i64,
    /// The hashes of store paths that are in it, 20 bytes each.
    pub mentions: Vec<u8>,
    /// When it came.
    pub created_at: Moment,
}

/// What is known of a NAR that somebody uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct UploadedNar {
    /// The hash of the NAR.
    pub nar_hash: NarHash,
    /// The size of the NAR in bytes.
    pub nar_size: i64,
    /// The hash of what was sent.
    pub sent_hash: NarHash,
    /// Its size in bytes.
    pub sent_size: i64,
    /// The hashes of store paths that are in it, 20 bytes each.
    pub mentions: Vec<u8>,
}

/// Notes an upload; one of the same name is replaced.
pub async fn insert(conn: &mut Conn, new: &NewUploadedNar) -> Result<(), StorageError> {
    query!(&mut *conn, |c| {
        let before = uploaded_nars::table.find((new.cache, new.uploader, &new.name));
        diesel::delete(before).execute(c).await?
    });
    query!(conn, |c| {
        // The same name can come twice at the same time, with the same file.
        let insert = diesel::insert_into(uploaded_nars::table).values(new);
        insert.on_conflict_do_nothing().execute(c).await?
    });
    Ok(())
}

/// What somebody uploaded to a cache under this name.
pub async fn lookup(conn: &mut Conn, cache: CacheId, uploader: UserId, name: &str) -> Result<Option<UploadedNar>, StorageError> {
    Ok(query!(conn, |c| {
        let one = uploaded_nars::table.inner_join(nars::table.on(nars::nar_hash.eq(uploaded_nars::nar_hash)));
        let one = one.filter(uploaded_nars::cache.eq(cache)).filter(uploaded_nars::uploader.eq(uploader));
        one.filter(uploaded_nars::name.eq(name))
            .select((
                uploaded_nars::nar_hash,
                nars::nar_size,
                uploaded_nars::sent_hash,
                uploaded_nars::sent_size,
                uploaded_nars::mentions,
            ))
            .first(c)
            .await
            .optional()?
    }))
}

/// Forgets at most `limit` that came before a time; how many there were.
pub async fn delete_older(conn: &mut Conn, before: Moment, limit: i64) -> Result<usize, StorageError> {
    let old: Vec<(CacheId, UserId, String)> = query!(&mut *conn, |c| {
        let old = uploaded_nars::table.filter(uploaded_nars::created_at.lt(before));
        old.select((uploaded_nars::cache, uploaded_nars::uploader, uploaded_nars::name)).limit(limit).load(c).await?
    });
    for (cache, uploader, name) in &old {
        query!(&mut *conn, |c| diesel::delete(uploaded_nars::table.find((cache, uploader, name))).execute(c).await?);
    }
    Ok(old.len())
}
