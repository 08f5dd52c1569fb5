//! The closure of store paths within an organization's scope.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use gradient_domain::OrganizationId;
use gradient_nix::StorePath;
use gradient_storage::{
    Conn, StorageError,
    paths::{self, OrganizationPath},
};

use crate::substituter::InputOffer;

/// Paths asked for in one query.
const WAVE: usize = 500;

/// The memory that known paths may take, in bytes.
const KNOWN_BYTES: u64 = 32 << 20;

/// How long a path that was there is believed to be there: one that goes meanwhile is one that no build needs.
const KNOWN_FOR: Duration = Duration::from_mins(1);

/// Paths that were there a moment ago. What one build needs, the next one mostly needs as well, and a long chain would be a query for
/// each of its links.
#[derive(Debug, Clone)]
pub(crate) struct KnownPaths(moka::sync::Cache<(OrganizationId, StorePath), OrganizationPath>);

impl KnownPaths {
    pub(crate) fn new() -> Self {
        let weigh = |(_, path): &(OrganizationId, StorePath), known: &OrganizationPath| {
            let names = known.references.iter().chain([path, path]).map(|path| 64 + path.name().len());
            u32::try_from(200 + names.sum::<usize>()).unwrap_or(u32::MAX)
        };
        Self(moka::sync::Cache::builder().max_capacity(KNOWN_BYTES).weigher(weigh).time_to_live(KNOWN_FOR).build())
    }

    /// Those of the paths that are there, as far as they are known or else as the database says.
    async fn find(
        &self,
        conn: &mut Conn,
        organization: OrganizationId,
        asked: &[StorePath],
    ) -> Result<Vec<OrganizationPath>, StorageError> {
        let (mut found, mut unknown) = (Vec::with_capacity(asked.len()), Vec::new());
        for path in asked {
            match self.0.get(&(organization, path.clone())) {
                Some(known) => found.push(known),
                None => unknown.push(path.clone()),
            }
        }
        if !unknown.is_empty() {
            for path in paths::find_many(conn, organization, &unknown).await? {
                self.0.insert((organization, path.path.clone()), path.clone());
                found.push(path);
            }
        }
        Ok(found)
    }
}

/// A closure, and what it lacks.
#[derive(Debug, Default)]
pub(crate) struct Closure {
    /// The paths that are there; references come before what refers to them.
    pub(crate) paths: Vec<OrganizationPath>,
    /// Those of them that are on a worker only.
    pub(crate) made: Vec<StorePath>,
    /// Paths that are referred to, or were asked for, and are not there.
    pub(crate) missing: Vec<StorePath>,
}

/// Everything that `roots` refer to, directly or not, themselves included. What has gone in the last minute may be among it. What is
/// not there may have been `made` on a worker, or be one of the `offers` of others.
pub(crate) async fn of(
    conn: &mut Conn,
    organization: OrganizationId,
    roots: Vec<StorePath>,
    known: &KnownPaths,
    made: &(dyn Fn(&StorePath) -> Option<OrganizationPath> + Send + Sync),
    offers: &HashMap<StorePath, InputOffer>,
) -> Result<Closure, StorageError> {
    let mut found = HashMap::new();
    let (mut missing, mut on_worker) = (Vec::new(), Vec::new());
    let mut seen: HashSet<StorePath> = roots.iter().cloned().collect();
    let mut wave: Vec<StorePath> = seen.iter().cloned().collect();
    while !wave.is_empty() {
        let mut next = Vec::new();
        for asked in wave.chunks(WAVE) {
            let there = known.find(conn, organization, asked).await?;
            let mut there: HashMap<StorePath, OrganizationPath> =
                there.into_iter().map(|path| (path.path.clone(), path)).collect();
            for path in asked.iter().filter(|path| !there.contains_key(path)).collect::<Vec<_>>() {
                if let Some(path) = made(path) {
                    on_worker.push(path.path.clone());
                    there.insert(path.path.clone(), path);
                } else if let Some(offer) = offers.get(path) {
                    there.insert(path.clone(), offer.path.clone());
                } else {
                    missing.push(path.clone());
                }
            }
            for path in there.values() {
                next.extend(path.references.iter().filter(|reference| seen.insert((*reference).clone())).cloned());
            }
            found.extend(there);
        }
        wave = next;
    }
    missing.sort();
    Ok(Closure { paths: references_first(found), made: on_worker, missing })
}

/// Orders paths so that each comes after what it refers to; ties by path, so that the order is the same every time.
fn references_first(mut found: HashMap<StorePath, OrganizationPath>) -> Vec<OrganizationPath> {
    let mut names: Vec<StorePath> = found.keys().cloned().collect();
    names.sort();
    let mut visited = HashSet::new();
    let mut order = Vec::with_capacity(names.len());
    for name in names {
        let mut stack = vec![(name, false)];
        while let Some((path, references_done)) = stack.pop() {
            if references_done {
                order.push(path);
                continue;
            }
            if !visited.insert(path.clone()) {
                continue;
            }
            let references = found.get(&path).map(|known| known.references.clone()).unwrap_or_default();
            stack.push((path, true));
            stack.extend(references.into_iter().filter(|r| found.contains_key(r) && !visited.contains(r)).map(|r| (r, false)));
        }
    }
    order.into_iter().filter_map(|path| found.remove(&path)).collect()
}
