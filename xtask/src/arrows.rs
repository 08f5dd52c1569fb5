//! `cargo xtask arrows`: an edge between two crates that the design does not draw is a fault.

mod table;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Package};

use crate::workspace;

/// Checks every edge of the workspace, and that each manifest takes lints and versions from the workspace.
pub(crate) fn run() -> Result<()> {
    let metadata = workspace::members()?;
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        for edge in edges(package) {
            faults.extend(edge_fault(&edge));
        }
        let manifest = &package.manifest_path;
        let text = fs::read_to_string(manifest).with_context(|| format!("reading {manifest}"))?;
        faults.extend(manifest_faults(&text).into_iter().map(|fault| format!("{}: {fault}", package.name)));
    }
    workspace::report("arrows", &faults)
}

/// One workspace crate that uses another.
#[derive(Debug, Clone)]
struct Edge {
    from: String,
    to: String,
    use_in: UseIn,
}

/// Where an edge is allowed to matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UseIn {
    /// The crate itself, or its build script.
    Crate,
    /// Only its tests.
    Tests,
}

fn edges(package: &Package) -> Vec<Edge> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.path.is_some())
        .map(|dependency| Edge {
            from: short(&package.name).to_owned(),
            to: short(&dependency.name).to_owned(),
            use_in: if dependency.kind == DependencyKind::Development { UseIn::Tests } else { UseIn::Crate },
        })
        .collect()
}

/// The crate's name as the table writes it. Binaries keep their full name, since `gradient-worker` is no `worker` library.
fn short(name: &str) -> &str {
    if table::BINARIES.contains(&name) { name } else { name.strip_prefix("gradient-").unwrap_or(name) }
}

fn edge_fault(edge: &Edge) -> Option<String> {
    let Edge { from, to, use_in } = edge;
    let Some(allowed) = table::may_use(from) else {
        return Some(format!("{from}: not on the table of crates (xtask/src/arrows/table.rs)"));
    };
    match use_in {
        UseIn::Crate if allowed.contains(&to.as_str()) => None,
        UseIn::Crate => Some(format!("{from} -> {to}: an edge that the design does not draw")),
        UseIn::Tests if to == table::TEST_SUPPORT || below(from).contains(to.as_str()) => None,
        UseIn::Tests => Some(format!("{from} -> {to} (tests): tests may use test-support and the crates below")),
    }
}

/// Every crate that can be reached along the table's arrows.
fn below(from: &str) -> BTreeSet<&'static str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(name) = open.pop() {
        for next in table::may_use(name).unwrap_or_default() {
            if reached.insert(*next) {
                open.push(next);
            }
        }
    }
    reached
}

/// What a member's manifest must take from the workspace but does not.
fn manifest_faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut section = "";
    let mut lints = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            if section.contains("dependencies.") {
                faults.push(format!("[{section}]: write the dependency on one line"));
            }
        } else if section == "lints" {
            lints |= line == "workspace = true";
        } else if section.ends_with("dependencies") && !line.contains("workspace = true") {
            faults.push(format!("`{line}`: versions stand in the workspace's Cargo.toml"));
        }
    }
    if !lints {
        faults.push("lints do not come from the workspace (`[lints] workspace = true`)".to_owned());
    }
    faults
}

#[cfg(test)]
mod tests;
