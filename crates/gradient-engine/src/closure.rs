//! The closure of store paths within an organization's scope.

use std::collections::{HashMap, HashSet};

use gradient_domain::OrganizationId;
use gradient_nix::StorePath;
use gradient_storage::{
    Conn, StorageError,
    paths::{self, OrganizationPath},
};

/// Paths asked for in one query.
const WAVE: usize = 500;

/// A closure, and what it lacks.
#[derive(Debug, Default)]
pub(crate) struct Closure {
    /// The paths that are there; references come before what refers to them.
    pub(crate) paths: Vec<OrganizationPath>,
    /// Paths that are referred to, or were asked for, and are not there.
    pub(crate) missing: Vec<StorePath>,
}

/// Everything that `roots` refer to, directly or not, themselves included.
pub(crate) async fn of(conn: &mut Conn, organization: OrganizationId, roots: Vec<StorePath>) -> Result<Closure, StorageError> {
    let mut found = HashMap::new();
    let mut missing = Vec::new();
    let mut seen: HashSet<StorePath> = roots.iter().cloned().collect();
    let mut wave: Vec<StorePath> = seen.iter().cloned().collect();
    while !wave.is_empty() {
        let mut next = Vec::new();
        for asked in wave.chunks(WAVE) {
            let known = paths::find_many(conn, organization, asked).await?;
            let known: HashMap<StorePath, OrganizationPath> = known.into_iter().map(|path| (path.path.clone(), path)).collect();
            missing.extend(asked.iter().filter(|path| !known.contains_key(path)).cloned());
            for path in known.values() {
                next.extend(path.references.iter().filter(|reference| seen.insert((*reference).clone())).cloned());
            }
            found.extend(known);
        }
        wave = next;
    }
    missing.sort();
    Ok(Closure { paths: references_first(found), missing })
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
