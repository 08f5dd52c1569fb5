//! What a collection of a cache reads and removes.
//!
//! Whoever collects reads all claims of a cache page by page, decides, and then removes in small transactions, each of which looks
//! again under the cache's [`lock`](crate::caches::lock), which whoever publishes takes first, too.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, Moment, OrganizationId, ProjectId, Publish};
use gradient_nix::{NarHash, StorePath, StorePathHash};

use crate::{
    Conn, PathHash, PathHashList, StorageError,
    conn::query,
    schema::{
        builds, cache_paths, caches, derivation_outputs, entry_points, evaluation_builds, evaluations, nars, organizations,
        pending_paths, projects, subscriptions,
    },
};

/// A claim, as far as it matters for its life.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Claim {
    /// The path's hash.
    pub hash: StorePathHash,
    /// Its NAR.
    pub nar_hash: NarHash,
    /// The size of the NAR's file.
    pub file_size: i64,
    /// What it refers to, itself included where it does.
    pub references: PathHashList,
    /// When the cache was last told to publish it.
    pub claimed_at: Moment,
    /// When somebody last fetched it.
    pub last_fetched_at: Option<Moment>,
}

/// The caches that do not keep everything for ever.
pub async fn caches_with_limits(conn: &mut Conn) -> Result<Vec<CacheId>, StorageError> {
    Ok(query!(conn, |c| {
        let limited = caches::retention_days.is_not_null().or(caches::max_bytes.is_not_null());
        let all = caches::table.filter(caches::deleted_at.is_null()).filter(limited);
        all.select(caches::id).order(caches::id).load(c).await?
    }))
}

/// The claims of a cache by hash, `after` the last one of the page before.
pub async fn claims(
    conn: &mut Conn,
    cache: CacheId,
    after: Option<StorePathHash>,
    limit: i64,
) -> Result<Vec<Claim>, StorageError> {
    Ok(query!(conn, |c| {
        let all = cache_paths::table.inner_join(nars::table).filter(cache_paths::cache.eq(cache));
        let all = all.order(cache_paths::hash).limit(limit).select((
            cache_paths::hash,
            cache_paths::nar_hash,
            nars::file_size,
            cache_paths::reference_list,
            cache_paths::claimed_at,
            cache_paths::last_fetched_at,
        ));
        let mut page = all.into_boxed::<DB>();
        if let Some(after) = after {
            page = page.filter(cache_paths::hash.gt(after));
        }
        page.load(c).await?
    }))
}

/// The organizations that publish to a cache.
pub async fn publishers(conn: &mut Conn, cache: CacheId) -> Result<Vec<OrganizationId>, StorageError> {
    let all: Vec<(OrganizationId, gradient_domain::SubscriptionMode)> = query!(conn, |c| {
        let all = subscriptions::table.inner_join(organizations::table).filter(subscriptions::cache.eq(cache));
        let all = all.filter(organizations::deleted_at.is_null()).order(organizations::id);
        all.select((organizations::id, subscriptions::mode)).load(c).await?
    });
    Ok(all.into_iter().filter(|(_, mode)| mode.is_writable()).map(|(id, _)| id).collect())
}

/// The outputs that caches have because of an organization's evaluations, as long as those are there: of entry points, and of all
/// builds where an evaluation publishes all.
pub async fn kept_outputs(conn: &mut Conn, organization: OrganizationId) -> Result<Vec<PathHash>, StorageError> {
    let deleted: Vec<ProjectId> = query!(&mut *conn, |c| {
        let deleted = projects::table.filter(projects::organization.eq(organization)).filter(projects::deleted_at.is_not_null());
        deleted.select(projects::id).load(c).await?
    });
    macro_rules! kept {
        () => {
            evaluations::table
                .filter(evaluations::organization.eq(organization))
                .filter(evaluations::project.is_null().or(evaluations::project.ne_all(&deleted)))
        };
    }
    macro_rules! outputs {
        ($builds:expr) => {
            builds::table
                .inner_join(derivation_outputs::table.on(derivation_outputs::derivation.eq(builds::derivation)))
                .filter(derivation_outputs::path.is_not_null())
                .filter(builds::id.eq_any($builds))
                .select(derivation_outputs::path.assume_not_null())
                .distinct()
        };
    }
    let mut all: Vec<PathHash> = query!(&mut *conn, |c| {
        let roots = entry_points::table.filter(entry_points::evaluation.eq_any(kept!().select(evaluations::id)));
        let roots = roots.filter(entry_points::build.is_not_null()).select(entry_points::build.assume_not_null());
        outputs!(roots).load(c).await?
    });
    let more: Vec<PathHash> = query!(conn, |c| {
        let everything = kept!().filter(evaluations::publish.eq(Publish::All)).select(evaluations::id);
        let needed = evaluation_builds::table.filter(evaluation_builds::evaluation.eq_any(everything));
        outputs!(needed.select(evaluation_builds::build)).load(c).await?
    });
    all.extend(more);
    Ok(all)
}

/// What the paths refer to that came to a cache since a time and wait for something else that they refer to.
pub async fn awaited_since(conn: &mut Conn, cache: CacheId, since: Moment) -> Result<Vec<PathHashList>, StorageError> {
    Ok(query!(conn, |c| {
        let waiting = pending_paths::table.filter(pending_paths::cache.eq(cache)).filter(pending_paths::created_at.ge(since));
        waiting.select(pending_paths::reference_list).load(c).await?
    }))
}

/// When these paths were last claimed, and last fetched.
pub async fn uses(
    conn: &mut Conn,
    cache: CacheId,
    hashes: &[StorePathHash],
) -> Result<Vec<(StorePathHash, Moment, Option<Moment>)>, StorageError> {
    Ok(query!(conn, |c| {
        let some = cache_paths::table.filter(cache_paths::cache.eq(cache)).filter(cache_paths::hash.eq_any(hashes));
        some.select((cache_paths::hash, cache_paths::claimed_at, cache_paths::last_fetched_at)).load(c).await?
    }))
}

/// The paths that were claimed since a time: when, and what they refer to.
pub async fn claimed_since(
    conn: &mut Conn,
    cache: CacheId,
    since: Moment,
) -> Result<Vec<(StorePathHash, Moment, PathHashList)>, StorageError> {
    Ok(query!(conn, |c| {
        let fresh = cache_paths::table.filter(cache_paths::cache.eq(cache)).filter(cache_paths::claimed_at.ge(since));
        fresh.select((cache_paths::hash, cache_paths::claimed_at, cache_paths::reference_list)).load(c).await?
    }))
}

/// Takes claims from a cache. How many there were.
pub async fn delete_claims(conn: &mut Conn, cache: CacheId, hashes: &[StorePathHash]) -> Result<usize, StorageError> {
    Ok(query!(conn, |c| {
        let some = cache_paths::table.filter(cache_paths::cache.eq(cache)).filter(cache_paths::hash.eq_any(hashes));
        diesel::delete(some).execute(c).await?
    }))
}

/// The whole names of some of a cache's paths.
pub async fn names(conn: &mut Conn, cache: CacheId, hashes: &[StorePathHash]) -> Result<Vec<StorePath>, StorageError> {
    Ok(query!(conn, |c| {
        let some = cache_paths::table.filter(cache_paths::cache.eq(cache)).filter(cache_paths::hash.eq_any(hashes));
        some.select(cache_paths::path).load(c).await?
    }))
}
