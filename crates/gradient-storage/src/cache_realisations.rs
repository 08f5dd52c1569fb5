//! What outputs of content-addressed derivations turned out to be, as clients told a cache.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, Moment};
use gradient_nix::StorePath;

use crate::{Conn, SignatureList, StorageError, conn::query, schema::cache_realisations};

/// What an output turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct CacheRealisation {
    /// What the output turned out to be.
    pub path: StorePath,
    /// The realisations of its inputs, as a JSON object.
    pub dependents: String,
    /// Signatures of others.
    #[diesel(deserialize_as = SignatureList)]
    pub signatures: Vec<String>,
}

/// Keeps a realisation under the name of its file; one that is there stays as it is. What is there then.
pub async fn claim(
    conn: &mut Conn,
    cache: CacheId,
    name: &str,
    new: CacheRealisation,
    now: Moment,
) -> Result<CacheRealisation, StorageError> {
    query!(&mut *conn, |c| {
        let row = (
            cache_realisations::cache.eq(cache),
            cache_realisations::name.eq(name),
            cache_realisations::path.eq(&new.path),
            cache_realisations::dependents.eq(&new.dependents),
            cache_realisations::signatures.eq(SignatureList(new.signatures.clone())),
            cache_realisations::created_at.eq(now),
        );
        diesel::insert_into(cache_realisations::table).values(row).on_conflict_do_nothing().execute(c).await?
    });
    Ok(lookup(conn, cache, name).await?.unwrap_or(new))
}

/// The realisation under this name.
pub async fn lookup(conn: &mut Conn, cache: CacheId, name: &str) -> Result<Option<CacheRealisation>, StorageError> {
    Ok(query!(conn, |c| {
        let one = cache_realisations::table.find((cache, name));
        let one = one.select((cache_realisations::path, cache_realisations::dependents, cache_realisations::signatures));
        one.first(c).await.optional()?
    }))
}

/// Forgets the realisation under this name.
pub async fn delete(conn: &mut Conn, cache: CacheId, name: &str) -> Result<(), StorageError> {
    query!(conn, |c| diesel::delete(cache_realisations::table.find((cache, name))).execute(c).await?);
    Ok(())
}

/// Replaces the signatures of others.
pub async fn set_signatures(conn: &mut Conn, cache: CacheId, name: &str, signatures: Vec<String>) -> Result<(), StorageError> {
    query!(conn, |c| {
        let one = cache_realisations::table.find((cache, name));
        diesel::update(one).set(cache_realisations::signatures.eq(SignatureList(signatures))).execute(c).await?
    });
    Ok(())
}
