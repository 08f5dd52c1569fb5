//! Which logs the readers of a cache may see.

use std::collections::HashSet;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, CacheId, DerivationId, OrganizationId, SubscriptionMode};
use gradient_nix::{StorePath, StorePathHash};

use crate::{
    Conn, StorageError, cache_paths,
    conn::query,
    schema::{builds, derivation_outputs, derivations, entry_points, organizations, subscriptions},
};

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
    let succeeded = ended.iter().find(|(_, derivation, status)| *status == BuildStatus::Completed && held.contains(derivation));
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
    let held = cache_paths::known(conn, cache, &hashes).await?;
    let is_held = |path: &Option<StorePath>| path.as_ref().is_some_and(|path| held.contains(&path.hash()));
    Ok(outputs.iter().filter(|(_, path)| is_held(path)).map(|(derivation, _)| *derivation).collect())
}
