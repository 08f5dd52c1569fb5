//! Which NARs have debugging information, by the build ids that it is about.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::CacheId;
use gradient_nix::NarHash;

use crate::{
    Conn, StorageError,
    conn::{insert_rows, query},
    schema::{cache_paths, nar_debuginfo},
};

/// Notes the build ids of a stored NAR, each with the file inside it.
pub async fn insert_many(conn: &mut Conn, nar: NarHash, files: Vec<(String, String)>) -> Result<(), StorageError> {
    let rows = files.into_iter().map(|(build_id, member)| {
        (nar_debuginfo::build_id.eq(build_id), nar_debuginfo::nar_hash.eq(nar), nar_debuginfo::member.eq(member))
    });
    insert_rows!(conn, nar_debuginfo::table, 3, rows, or ignore);
    Ok(())
}

/// A NAR that a cache publishes with the debugging information of a build id, and the file inside it.
pub async fn lookup(conn: &mut Conn, cache: CacheId, build_id: &str) -> Result<Option<(NarHash, String)>, StorageError> {
    Ok(query!(conn, |c| {
        let all = nar_debuginfo::table.inner_join(cache_paths::table.on(cache_paths::nar_hash.eq(nar_debuginfo::nar_hash)));
        let all = all.filter(nar_debuginfo::build_id.eq(build_id)).filter(cache_paths::cache.eq(cache));
        let all = all.order((nar_debuginfo::nar_hash, cache_paths::hash));
        all.select((nar_debuginfo::nar_hash, nar_debuginfo::member)).first(c).await.optional()?
    }))
}
