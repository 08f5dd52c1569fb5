//! What a path leads to.

use std::collections::BTreeMap;

use gradient_nix::{
    STORE_DIR, StorePath,
    nar::{Listing, Node},
};

/// Symlinks that are followed on the way, as many as Linux follows.
const MAX_SYMLINKS: usize = 40;

/// What is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    File { nar_offset: u64, size: u64 },
    Directory(&'a BTreeMap<String, Node>),
}

/// What is at `path` in a store path. There is nothing where a symlink leads out of the store path, even if it leads back in,
/// and nothing at the end of a loop.
pub(super) fn resolve<'a>(listing: &'a Listing, store_path: &StorePath, path: &str) -> Option<Found<'a>> {
    if path.split('/').any(|name| matches!(name, "." | "..")) {
        return None;
    }
    let mut passed = vec![listing.root()];
    let mut ahead = Vec::new();
    push(&mut ahead, path);
    let mut followed = 0;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            passed.pop();
            passed.last()?;
            continue;
        }
        let Node::Directory { entries } = passed.last()? else { return None };
        let node = entries.get(&name)?;
        let Node::Symlink { target } = node else {
            passed.push(node);
            continue;
        };
        followed += 1;
        if followed > MAX_SYMLINKS {
            return None;
        }
        if target.starts_with('/') {
            passed.truncate(1);
            push(&mut ahead, inside(target, store_path)?);
        } else {
            push(&mut ahead, target);
        }
    }
    match passed.pop()? {
        Node::Regular { size, nar_offset, .. } => Some(Found::File { nar_offset: *nar_offset, size: *size }),
        Node::Directory { entries } => Some(Found::Directory(entries)),
        // Only the store path itself: what it leads to is outside.
        Node::Symlink { .. } => None,
    }
}

/// Puts the names of a path on a stack, the first on top.
fn push(ahead: &mut Vec<String>, path: &str) {
    ahead.extend(path.rsplit('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned));
}

/// The rest of an absolute path that is inside the store path.
fn inside<'a>(target: &'a str, store_path: &StorePath) -> Option<&'a str> {
    let rest = target.strip_prefix(STORE_DIR)?.strip_prefix('/')?;
    let (basename, rest) = rest.split_once('/').unwrap_or((rest, ""));
    (basename == store_path.to_string()).then_some(rest)
}

#[cfg(test)]
mod tests;
