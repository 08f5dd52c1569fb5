use std::collections::{BTreeMap, HashSet};

use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use gradient_domain::{Moment, OrganizationId};
use gradient_nix::{StorePath, StorePathHash};

use crate::{
    Conn, StorageError, cache_paths,
    conn::query,
    schema::{derivation_outputs, derivations, realisations},
    subscriptions,
};

/// A realisation whose path no kept derivation of the organization has as an output.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct OrphanedRealisation {
    /// Whose it is.
    pub organization: OrganizationId,
    /// The name that caches serve it by.
    pub name: String,
    /// Where the output is.
    pub path: StorePath,
}

/// Realisations that were set before a time, and whose paths are no outputs of derivations that are kept. A build that ends sets
/// the path and the realisation in one transaction; who looks at both in the middle of it sees an older time.
macro_rules! orphaned {
    ($set_before:expr) => {
        realisations::table.filter(realisations::created_at.lt($set_before)).filter(not(exists(
            derivation_outputs::table
                .inner_join(derivations::table)
                .filter(derivations::organization.eq(realisations::organization))
                .filter(derivation_outputs::path.eq(realisations::path.nullable())),
        )))
    };
}

/// Realisations that were set before a time and whose paths no kept derivation of the organization has, by organization and name.
pub async fn orphaned_realisations(
    conn: &mut Conn,
    set_before: Moment,
    after: Option<&OrphanedRealisation>,
    limit: i64,
) -> Result<Vec<OrphanedRealisation>, StorageError> {
    Ok(query!(conn, |c| {
        let columns = (realisations::organization, realisations::name, realisations::path);
        let in_order = orphaned!(set_before).select(columns).order((realisations::organization, realisations::name));
        let mut found = in_order.limit(limit).into_boxed::<DB>();
        if let Some(after) = after {
            let same = realisations::organization.eq(after.organization).and(realisations::name.gt(&after.name));
            found = found.filter(realisations::organization.gt(after.organization).or(same));
        }
        found.load(c).await?
    }))
}

/// Removes those of the realisations that are still orphaned, and whose paths no cache publishes that the organization subscribes
/// to. How many those were.
pub async fn delete_realisations(
    conn: &mut Conn,
    orphaned: &[OrphanedRealisation],
    set_before: Moment,
) -> Result<usize, StorageError> {
    let mut of: BTreeMap<OrganizationId, Vec<&OrphanedRealisation>> = BTreeMap::new();
    for each in orphaned {
        of.entry(each.organization).or_default().push(each);
    }
    let mut deleted = 0;
    for (organization, orphaned) in of {
        let hashes: Vec<StorePathHash> = orphaned.iter().map(|each| each.path.hash()).collect();
        let mut published: HashSet<StorePathHash> = HashSet::new();
        for subscribed in subscriptions::list(conn, organization).await? {
            published.extend(cache_paths::known(conn, subscribed.cache, &hashes).await?);
        }
        let unneeded = orphaned.iter().filter(|each| !published.contains(&each.path.hash()));
        let names: Vec<&str> = unneeded.map(|each| each.name.as_str()).collect();
        deleted += query!(&mut *conn, |c| {
            let these = orphaned!(set_before).filter(realisations::organization.eq(organization));
            diesel::delete(these.filter(realisations::name.eq_any(&names))).execute(c).await?
        });
    }
    Ok(deleted)
}
