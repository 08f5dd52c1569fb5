//! Asks Nix what attributes of a flake are. One process answers many queries, each as soon as it is known; what kills the process
//! is that one attribute's own failure, and the rest goes on in another.

mod memory;
mod process;

use std::{ffi::OsStr, path::Path};

use gradient_domain::{BuildTimes, Failure, FailureKind};
use gradient_nix::StorePath;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{
    drafts::DraftStore,
    evaluator::{Answer, Evaluator, Found, Query},
    walks,
};
use crate::{
    EvaluationLimits, Machine,
    expression::nix_string,
    job::{cut, failure},
};
use process::Ending;
pub(super) use process::Warnings;

const PROBE: &str = include_str!("probe.nix");
const EXPLAIN: &str = include_str!("explain.nix");

/// How much of an error is kept.
pub(super) const MAX_ERROR_BYTES: usize = 16 << 10;

/// The shape in which `probe.nix` answers.
#[derive(Debug, Deserialize)]
struct Described {
    kind: String,
    depth: usize,
    drv: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    /// In seconds; above 0.
    timeout: Option<u64>,
    silent: Option<u64>,
}

impl Described {
    fn into_found(self) -> Found {
        let times = BuildTimes { timeout_secs: self.timeout, max_silent_secs: self.silent };
        match (self.kind.as_str(), self.drv) {
            ("missing", _) => Found::Missing,
            ("throws", _) => Found::Throws(self.depth),
            ("set", _) => Found::Set(self.names),
            ("derivation", None) => Found::Derivation(None),
            ("derivation", Some(path)) => match StorePath::from_absolute(&path) {
                Ok(path) if path.is_derivation() => Found::Derivation(Some((path, times))),
                _ => Found::Fatal("its drvPath is not a derivation in the store".to_owned()),
            },
            _ => Found::Other(self.kind),
        }
    }
}

/// Evaluates one flake with `nix-instantiate`.
#[derive(Debug)]
pub(super) struct NixInstantiate<'m> {
    machine: &'m Machine,
    flake: String,
    allow_ifd: bool,
    drafts: Option<DraftStore>,
}

impl<'m> NixInstantiate<'m> {
    /// For the flake with this locked reference.
    pub(super) fn new(machine: &'m Machine, flake: String, allow_ifd: bool, drafts: Option<DraftStore>) -> Self {
        Self { machine, flake, allow_ifd, drafts }
    }

    /// How many processes may run at once.
    pub(super) fn processes(&self) -> usize {
        self.limits().processes.max(1)
    }

    /// The flake's reference.
    pub(super) fn flake(&self) -> &str {
        &self.flake
    }

    /// What each process may use.
    pub(super) fn limits(&self) -> &EvaluationLimits {
        &self.machine.evaluation
    }

    /// Where temporary files go.
    pub(super) fn scratch(&self) -> &Path {
        &self.machine.scratch
    }

    /// Another evaluator by the same rules, and whether the derivations that it writes are kept elsewhere than in the store.
    pub(super) fn command_of(&self, program: &Path) -> (tokio::process::Command, bool) {
        let drafts = self.usable_drafts();
        (self.prepare(program, drafts), drafts.is_some())
    }

    fn usable_drafts(&self) -> Option<&DraftStore> {
        self.drafts.as_ref().filter(|drafts| !drafts.has_failed())
    }

    /// Answers all queries, in order, until one is not to be claimed any more: then somebody else is at the rest.
    pub(super) async fn walk(
        &self,
        queries: &[&Query],
        claim: &(dyn Fn(usize) -> bool + Sync),
        answers: &mpsc::Sender<Answer>,
    ) -> Result<(), Failure> {
        let mut next = 0;
        while let Some(rest) = queries.get(next..).filter(|rest| !rest.is_empty()) {
            let mark = uuid::Uuid::new_v4().simple().to_string();
            let text = serde_json::to_string(rest).map_err(|error| failure(FailureKind::Permanent, error))?;
            let probe = self.expression(PROBE).replace("@MARK@", &mark).replace("@QUERIES@", &nix_string(&text));
            let drafts = self.usable_drafts();
            let claim_of_rest = |number| claim(next + number);
            let command = self.command(drafts);
            let ended = process::run(command, self.limits(), probe, &mark, rest, &claim_of_rest, answers).await?;
            next += ended.answered;
            if drafts.is_some_and(DraftStore::has_failed) && !matches!(ended.ending, Ending::Complete | Ending::Met) {
                // The others go on with the real store as well.
                tracing::debug!("evaluating with the store itself");
                continue;
            }
            let (blamed, error) = match ended.ending {
                Ending::Complete => continue,
                Ending::Met => return Ok(()),
                Ending::Early(error) => return Err(failure(FailureKind::Permanent, error)),
                Ending::Error(error) => (true, error),
                // Perhaps those before it used the memory up: it gets a process for itself before it is blamed.
                Ending::Killed(error) => (ended.answered == 0, error),
            };
            if blamed && let Some(query) = queries.get(next) {
                next += 1;
                let found = Found::Fatal(cut(error, MAX_ERROR_BYTES));
                let _ = answers.send(Answer::Found { path: query.path.clone(), found }).await;
            }
        }
        Ok(())
    }

    fn expression(&self, template: &str) -> String {
        template.replace("@FLAKE@", &nix_string(&self.flake))
    }

    /// Nix, to be given an expression on its standard input: there it may be long, and nobody else on the machine reads it.
    fn command(&self, drafts: Option<&DraftStore>) -> tokio::process::Command {
        let mut command = self.prepare("nix-instantiate", drafts);
        command.args(["--eval", "--strict", "--json", "--read-write-mode", "--option", "pure-eval", "true", "-"]);
        command
    }

    fn prepare(&self, program: impl AsRef<OsStr>, drafts: Option<&DraftStore>) -> tokio::process::Command {
        let mut command = self.machine.nix.command(program);
        command.args(["--option", "allow-import-from-derivation", if self.allow_ifd { "true" } else { "false" }]);
        if let Some(bytes) = self.limits().memory_bytes {
            command.env("GC_MAXIMUM_HEAP_SIZE", bytes.to_string());
        }
        if let Some(drafts) = drafts {
            command.env("NIX_REMOTE", drafts.remote());
        }
        command
    }
}

impl Evaluator for NixInstantiate<'_> {
    async fn ask(&self, queries: &[Query], answers: mpsc::Sender<Answer>) -> Result<(), Failure> {
        walks::ask(self, queries, answers).await
    }

    async fn explain(&self, path: &[String]) -> String {
        let text = serde_json::to_string(path).unwrap_or_default();
        let expression = self.expression(EXPLAIN).replace("@PATH@", &nix_string(&text));
        match process::error_of(self.command(None), expression).await {
            Some(error) => cut(error, MAX_ERROR_BYTES),
            None => "it throws an error".to_owned(),
        }
    }
}
