//! Brings a commit into the store with Nix's own fetcher, and uploads it to the organization's scope.

mod ssh;

use std::time::Duration;

use gradient_domain::{Failure, FailureKind, RepositoryUrl};
use gradient_nix::{NarHash, StorePath};
use gradient_protocol::{FetchTask, Source};
use serde::Deserialize;

use crate::{
    Machine,
    expression::nix_string,
    job::{JobContext, failure},
    process::{self, Limits, ProcessError},
    store,
};
use ssh::SshIdentity;

const FETCH: Limits = Limits { time: Duration::from_mins(30), stdout_bytes: 1 << 20 };

/// The protocols that git may speak for a fetch; `ext::` and the like would run programs.
const GIT_PROTOCOLS: &str = "file:git:http:https:ssh";

/// What Nix says of a fetched tree.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tree {
    path: String,
    nar_hash: String,
    rev: Option<String>,
    rev_count: Option<u64>,
    last_modified: Option<i64>,
}

/// Fetches and uploads.
pub(crate) async fn run(machine: &Machine, task: FetchTask, context: &JobContext) -> Result<Source, Failure> {
    let source = fetch(machine, &task).await?;
    store::upload(machine, context.transfer(), std::slice::from_ref(&source.path)).await?;
    Ok(source)
}

async fn fetch(machine: &Machine, task: &FetchTask) -> Result<Source, Failure> {
    let refuse = |message: String| failure(FailureKind::Permanent, message);
    let repository: RepositoryUrl = task.repository.parse().map_err(|error| refuse(format!("the repository: {error}")))?;
    if task.commit.len() != 40 || !task.commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(refuse("the commit is not 40 hexadecimal digits".to_owned()));
    }
    let mut command = machine.nix.command("nix");
    command.args(["eval", "--json", "--expr", &expression(&repository, task)]);
    command.env("GIT_ALLOW_PROTOCOL", GIT_PROTOCOLS);
    let identity = match &task.access {
        Some(access) => Some(SshIdentity::new(&machine.scratch, access).map_err(|error| failure(FailureKind::Transient, error))?),
        None => None,
    };
    if let Some(identity) = &identity {
        command.env("GIT_SSH_COMMAND", identity.command());
    }
    let printed = process::run(command, FETCH).await.map_err(|error| explain(&repository, &error))?;
    drop(identity);
    let tree: Tree = serde_json::from_slice(&printed).map_err(|error| refuse(format!("cannot read Nix's answer: {error}")))?;
    read(tree, task)
}

/// The tree as Nix's fetcher gives it. Not as a flake: that would evaluate `flake.nix` and fetch its inputs.
fn expression(repository: &RepositoryUrl, task: &FetchTask) -> String {
    let flake_url = repository.to_nix_flake_url(None, None);
    let url = nix_string(flake_url.strip_prefix("git+").unwrap_or(&flake_url));
    // Nix 2.8 takes `master` when it is told nothing.
    let reference = match &task.reference {
        Some(reference) => format!("ref = {};", nix_string(reference)),
        None => "allRefs = true;".to_owned(),
    };
    let rev = nix_string(&task.commit);
    format!(
        "let tree = builtins.fetchTree {{ type = \"git\"; url = {url}; rev = {rev}; {reference} shallow = false; }}; in \
         {{ path = tree.outPath; narHash = tree.narHash; rev = tree.rev or null; revCount = tree.revCount or null; \
         lastModified = tree.lastModified or null; }}"
    )
}

fn read(tree: Tree, task: &FetchTask) -> Result<Source, Failure> {
    let wrong = |what: &str| failure(FailureKind::Transient, format!("Nix names a wrong {what} for the fetched source"));
    let path = StorePath::from_absolute(&tree.path).map_err(|_| wrong("path"))?;
    let nar_hash: NarHash = tree.nar_hash.parse().map_err(|_| wrong("hash"))?;
    if tree.rev.as_ref().is_some_and(|rev| !rev.eq_ignore_ascii_case(&task.commit)) {
        return Err(wrong("commit"));
    }
    let rev = Some(tree.rev.unwrap_or_else(|| task.commit.clone()));
    Ok(Source { path, nar_hash, rev, rev_count: tree.rev_count, last_modified: tree.last_modified })
}

/// What Nix and git say when another try gives the same answer.
const FINAL: &[&str] = &[
    "Cannot find Git revision",
    "object not found - no match for id",
    "not our ref",
    "Permission denied (publickey",
    "Host key verification failed",
    "Authentication failed",
    "epository not found",
    "does not appear to be a git repository",
    "could not read Username",
];

/// What Nix and git say, without what must not be shown. Most fetches that fail may succeed later.
fn explain(repository: &RepositoryUrl, error: &ProcessError) -> Failure {
    let text = error.to_string();
    // What comes before the last error is a trace of the expression above.
    let mut message = text.rfind("error: ").and_then(|start| text.get(start..)).unwrap_or(&text).to_owned();
    let kind = if FINAL.iter().any(|words| message.contains(words)) { FailureKind::Permanent } else { FailureKind::Transient };
    for secret in repository.credentials() {
        message = message.replace(secret, "…");
    }
    failure(kind, format!("cannot fetch {}: {message}", redacted(repository)))
}

fn redacted(repository: &RepositoryUrl) -> String {
    repository.credentials().into_iter().fold(repository.as_str().to_owned(), |text, secret| text.replace(secret, "…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(reference: Option<&str>) -> FetchTask {
        FetchTask {
            repository: "https://example.org/a".into(),
            commit: "a".repeat(40),
            reference: reference.map(Into::into),
            access: None,
        }
    }

    #[test]
    fn texts_from_outside_stay_texts() {
        let repository = "https://example.org/a".parse().unwrap();
        let hostile = expression(&repository, &task(Some("x\"; url = \"${builtins.readFile ./secret}")));
        assert!(hostile.contains(r#"ref = "x\"; url = \"\${builtins.readFile ./secret}";"#), "{hostile}");
        assert!(expression(&repository, &task(None)).contains("allRefs = true;"));
    }

    #[test]
    fn another_commit_is_refused() {
        let tree = |rev: &str| Tree {
            path: "/nix/store/vvwmn6b5gh2lvkyi4gpnag6d4jdh4d8p-source".into(),
            nar_hash: "sha256-2e3XGLUQE8adnq1Zz8GRldU6RnNVOTHFfwNOPVdD/rg=".into(),
            rev: Some(rev.into()),
            rev_count: Some(1),
            last_modified: None,
        };
        assert_eq!(read(tree(&"A".repeat(40)), &task(None)).unwrap().rev_count, Some(1));
        assert!(read(tree(&"b".repeat(40)), &task(None)).is_err());
    }
}
