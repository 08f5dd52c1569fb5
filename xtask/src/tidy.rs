//! `cargo xtask tidy`: what neither the formatter nor the compiler checks.

mod absences;
mod migrations;

use std::fs;

use anyhow::{Context, Result};

use crate::workspace;

/// A Rust file past this length wants to be two.
const MAX_LINES: usize = 400;

/// Words that say that something is not done. Spelt in halves, since this file is checked too.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

/// Checks every file of the project.
pub(crate) fn run() -> Result<()> {
    let shell = workspace::shell()?;
    let root = workspace::root();
    let paths = workspace::files(&shell)?;
    let mut faults = migrations::faults(&paths);
    for path in &paths {
        let bytes = fs::read(root.join(path)).with_context(|| format!("reading {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            faults.extend(file_faults(path, &text));
        }
    }
    workspace::report("tidy", &faults)
}

fn file_faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if is_rust(path) {
        let lines = text.lines().count();
        if lines > MAX_LINES {
            faults.push(format!("{path}: {lines} lines; past {MAX_LINES} something wants to leave"));
        }
        if path.ends_with("/mod.rs") {
            faults.push(format!("{path}: `foo.rs` stands beside `foo/`, there is no mod.rs"));
        }
    }
    if path != "Cargo.lock" {
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = UNFINISHED.iter().find(|word| line.contains(*word)) {
                faults.push(format!("{path}:{}: {word}", number + 1));
            }
        }
    }
    faults.extend(absences::faults(path, text));
    faults
}

fn is_rust(path: &str) -> bool {
    workspace::has_extension(path, "rs")
}

#[cfg(test)]
mod tests;
