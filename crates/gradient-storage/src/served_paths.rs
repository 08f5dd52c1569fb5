//! What a cache serves: the paths it has a claim on, with what is known of their NARs.

use std::collections::HashSet;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, CacheId, DerivationId, OrganizationId, SubscriptionMode};
use gradient_nix::{NarHash, StorePath, StorePathHash};

use crate::{
    Conn, PathList, StorageError,
    conn::query,
    schema::{builds, cache_paths, derivation_outputs, derivations, entry_points, nars, organizations, subscriptions},
};

/// A path of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct ServedPath {
    /// The path.
    pub path: StorePath,
    /// What it refers to.
    pub references: PathList,
    /// The derivation that it is an output of.
    pub deriver: Option<StorePath>,
    /// What its path follows from, as Nix writes it.
    pub content_address: Option<String>,
    /// A signature that came with it.
    pub signature: Option<String>,
    /// Its NAR.
    #[diesel(embed)]
    pub nar: ServedNar,
}

/// A NAR of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct ServedNar {
    /// The hash of the NAR.
    pub nar_hash: NarHash,
    /// Its size in bytes.
    pub nar_size: i64,
    /// The hash of the NAR as it is stored, compressed.
    pub file_hash: NarHash,
    /// The size of the NAR as it is stored, compressed, in bytes.
    pub file_size: i64,
}

macro_rules! nar_columns {
    () => {
        (nars::nar_hash, nars::nar_size, nars::file_hash, nars::file_size)
    };
}

/// The path with this hash, when the cache has a claim on it.
pub async fn lookup(conn: &mut Conn, cache: CacheId, hash: StorePathHash) -> Result<Option<ServedPath>, StorageError> {
    Ok(query!(conn, |c| {
        let one = cache_paths::table.inner_join(nars::table.on(nars::nar_hash.eq(cache_paths::nar_hash)));
        let one = one.filter(cache_paths::cache.eq(cache)).filter(cache_paths::hash.eq(hash));
        let row = one.select((
            cache_paths::path,
            cache_paths::reference_list,
            cache_paths::deriver,
            cache_paths::content_address,
            cache_paths::signature,
            nar_columns!(),
        ));
        row.first(c).await.optional()?
    }))
}

/// The NAR with this hash, when the cache has a claim on a path with it.
pub async fn lookup_nar(conn: &mut Conn, cache: CacheId, nar_hash: NarHash) -> Result<Option<ServedNar>, StorageError> {
    Ok(query!(conn, |c| {
        let one = cache_paths::table.inner_join(nars::table.on(nars::nar_hash.eq(cache_paths::nar_hash)));
        let one = one.filter(cache_paths::cache.eq(cache)).filter(cache_paths::nar_hash.eq(nar_hash));
        one.select(nar_columns!()).first(c).await.optional()?
    }))
}

/// The build whose log the readers of a cache may see for a derivation: of an organization that publishes to the cache, and
/// either a build that succeeded and whose output the cache has, or the failed build of an entry point. The newest of those,
/// what succeeded before what failed.
pub async fn lookup_build(conn: &mut Conn, cache: CacheId, derivation: &StorePath) -> Result<Option<BuildId>, StorageError> {
    let publishers = publishers(conn, cache).await?;
    let known: Vec<DerivationId> = query!(&mut *conn, |c| {
        let known = derivations::table.filter(derivations::drv_path.eq(derivation.to_string()));
        known.filter(derivations::organization.eq_any(&publishers)).select(derivations::id).load(c).await?
    });
    if known.is_empty() {
        return Ok(None);
    }
    let held = with_output_in(conn, cache, &known).await?;
    let ended: Vec<(BuildId, DerivationId, BuildStatus)> = query!(&mut *conn, |c| {
        let ended = builds::table.filter(builds::derivation.eq_any(&known)).filter(builds::finished_at.is_not_null());
        let ended = ended.order((builds::finished_at.desc(), builds::generation.desc()));
        ended.select((builds::id, builds::derivation, builds::status)).load(c).await?
    });
    let succeeded = ended.iter().find(|(_, derivation, status)| status.is_success() && held.contains(derivation));
    if let Some((build, ..)) = succeeded {
        return Ok(Some(*build));
    }
    let failed: Vec<BuildId> =
        ended.iter().filter(|(.., status)| *status == BuildStatus::Failed).map(|(build, ..)| *build).collect();
    let entries: HashSet<Option<BuildId>> = query!(conn, |c| {
        let entries = entry_points::table.filter(entry_points::build.eq_any(failed.iter().copied().map(Some)));
        entries.select(entry_points::build).load(c).await?.into_iter().collect()
    });
    Ok(failed.into_iter().find(|build| entries.contains(&Some(*build))))
}

async fn publishers(conn: &mut Conn, cache: CacheId) -> Result<Vec<OrganizationId>, StorageError> {
    Ok(query!(conn, |c| {
        let all = subscriptions::table.inner_join(organizations::table).filter(subscriptions::cache.eq(cache));
        let all = all.filter(organizations::deleted_at.is_null()).filter(subscriptions::mode.ne(SubscriptionMode::ReadOnly));
        all.select(organizations::id).load(c).await?
    }))
}

/// Which derivations have an output that the cache has.
async fn with_output_in(
    conn: &mut Conn,
    cache: CacheId,
    derivations: &[DerivationId],
) -> Result<HashSet<DerivationId>, StorageError> {
    let outputs: Vec<(DerivationId, Option<StorePath>)> = query!(&mut *conn, |c| {
        let outputs = derivation_outputs::table.filter(derivation_outputs::derivation.eq_any(derivations));
        outputs.select((derivation_outputs::derivation, derivation_outputs::path)).load(c).await?
    });
    let hashes: Vec<StorePathHash> = outputs.iter().filter_map(|(_, path)| path.as_ref().map(StorePath::hash)).collect();
    let held: HashSet<StorePathHash> = query!(conn, |c| {
        let held = cache_paths::table.filter(cache_paths::cache.eq(cache)).filter(cache_paths::hash.eq_any(&hashes));
        held.select(cache_paths::hash).load(c).await?.into_iter().collect()
    });
    let is_held = |path: &Option<StorePath>| path.as_ref().is_some_and(|path| held.contains(&path.hash()));
    Ok(outputs.iter().filter(|(_, path)| is_held(path)).map(|(derivation, _)| *derivation).collect())
}
