//! `nix-eval-jobs` in place of our own evaluator, where the machine has it. It looks at all that is in one set, so it is asked of
//! sets with many wanted attributes. It says nothing of what is no derivation, and is not told of wildcards: whatever it leaves
//! open is asked of our own evaluator, and so is everything when it fails.

mod process;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use gradient_domain::{BuildTimes, Failure, attribute_path};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{
    evaluator::{Answer, Evaluator, Found, Query},
    probe::NixInstantiate,
};

/// In a set with fewer wanted attributes it is not worth its start.
const ATTRIBUTES_MIN: usize = 100;

/// The evaluator that is `nix-eval-jobs`.
#[derive(Debug)]
pub(super) struct NixEvalJobs<'m> {
    program: &'m Path,
    own: NixInstantiate<'m>,
}

impl<'m> NixEvalJobs<'m> {
    pub(super) fn new(program: &'m Path, own: NixInstantiate<'m>) -> Self {
        Self { program, own }
    }

    /// Asks it of one set; what it did not say of these queries.
    async fn look_into<'q>(&self, set: &[String], queries: Vec<&'q Query>, answers: &mpsc::Sender<Answer>) -> Vec<&'q Query> {
        let mut open: HashMap<&str, &Query> =
            queries.into_iter().filter_map(|query| Some((query.path.last()?.as_str(), query))).collect();
        match self.command(set) {
            Ok((command, _roots)) => {
                if let Err(error) = process::run(command, self.own.limits().attribute_time, &mut open, answers).await {
                    tracing::warn!(%error, set = attribute_path(set), "nix-eval-jobs failed; evaluating the rest without it");
                }
            }
            Err(error) => tracing::warn!(%error, "cannot make a directory for the roots of nix-eval-jobs"),
        }
        let mut rest: Vec<&Query> = open.into_values().collect();
        rest.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        rest
    }

    /// With it goes the directory of the roots that keep what it evaluates from being collected.
    fn command(&self, set: &[String]) -> std::io::Result<(tokio::process::Command, Option<TempDir>)> {
        let (mut command, keeps_derivations) = self.own.command_of(self.program);
        let fragment: String = url::form_urlencoded::byte_serialize(attribute_path(set).as_bytes()).collect();
        let reference = format!("{}#{}", self.own.flake(), fragment.replace('+', "%20"));
        command.arg("--flake").arg(reference).arg("--meta").arg("--workers").arg(self.own.processes().to_string());
        if let Some(bytes) = self.own.limits().memory_bytes {
            command.arg("--max-memory-size").arg((bytes >> 20).max(1).to_string());
        }
        // What is not written to the store needs no root there.
        if keeps_derivations {
            return Ok((command, None));
        }
        let roots = tempfile::Builder::new().prefix("roots-").tempdir_in(self.own.scratch())?;
        command.arg("--gc-roots-dir").arg(roots.path());
        Ok((command, Some(roots)))
    }
}

impl Evaluator for NixEvalJobs<'_> {
    async fn ask(&self, queries: &[Query], answers: mpsc::Sender<Answer>) -> Result<(), Failure> {
        let mut sets: BTreeMap<&[String], Vec<&Query>> = BTreeMap::new();
        let mut rest = Vec::new();
        for query in queries {
            match query.path.split_last().filter(|(_, set)| query.derivation && is_nameable(set)) {
                Some((_, set)) => sets.entry(set).or_default().push(query),
                None => rest.push(query),
            }
        }
        for (set, queries) in sets {
            if queries.len() < ATTRIBUTES_MIN {
                rest.extend(queries);
            } else {
                rest.extend(self.look_into(set, queries, &answers).await);
            }
        }
        let rest: Vec<Query> = rest.into_iter().cloned().collect();
        if rest.is_empty() { Ok(()) } else { self.own.ask(&rest, answers).await }
    }

    async fn explain(&self, path: &[String]) -> String {
        self.own.explain(path).await
    }
}

/// Whether a flake's reference can name it: there is no way to write a quote there.
fn is_nameable(set: &[String]) -> bool {
    !set.is_empty() && set.iter().all(|name| !name.is_empty() && !name.contains(['"', '\\']))
}

/// What it says of an attribute.
fn found(derivation: Option<&str>, times: BuildTimes, error: Option<String>) -> Option<Found> {
    if let Some(error) = error {
        return Some(Found::Fatal(error));
    }
    let path = gradient_nix::StorePath::from_absolute(derivation?).ok()?;
    path.is_derivation().then_some(Found::Derivation(Some((path, times))))
}
