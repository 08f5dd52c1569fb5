//! One run of `nix-eval-jobs`: a line of JSON for each attribute on its standard output.

use std::{collections::HashMap, io, process::Stdio, time::Duration};

use gradient_domain::BuildTimes;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::Command,
    sync::mpsc,
    time::timeout,
};

use super::{
    super::{
        evaluator::{Answer, Query},
        limits::in_words,
        probe::{MAX_ERROR_BYTES, Warnings},
    },
    found,
};
use crate::job::cut;

/// The longest line that is read as one.
const MAX_LINE_BYTES: u64 = 4 << 20;

/// What it says of one attribute.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    /// Its names, from the set on; more than one where it looked into a set by itself.
    attr_path: Vec<String>,
    drv_path: Option<String>,
    error: Option<String>,
    /// The package's `meta`, whatever is in it.
    #[serde(default)]
    meta: Value,
}

impl Job {
    /// Seconds that `meta` allows the builder; what is no such number says nothing.
    fn times(&self) -> BuildTimes {
        let seconds = |name| self.meta.get(name).and_then(Value::as_u64).filter(|seconds| *seconds > 0);
        BuildTimes { timeout_secs: seconds("timeout"), max_silent_secs: seconds("maxSilent") }
    }
}

/// Runs it and passes its answers on; takes the queries that have one out of the open ones, which are by their last names.
pub(super) async fn run(
    mut command: Command,
    attribute_time: Duration,
    open: &mut HashMap<&str, &Query>,
    answers: &mpsc::Sender<Answer>,
) -> io::Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else { return Ok(()) };
    tokio::try_join!(jobs(stdout, attribute_time, open, answers), warnings(stderr, answers))?;
    let status = child.wait().await?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

async fn jobs(
    stdout: impl AsyncRead + Unpin,
    attribute_time: Duration,
    open: &mut HashMap<&str, &Query>,
    answers: &mpsc::Sender<Answer>,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 << 10, stdout);
    let mut line = Vec::new();
    loop {
        let silent = |_| io::Error::other(format!("it says nothing within {}", in_words(attribute_time)));
        if !timeout(attribute_time, read_line(&mut reader, &mut line)).await.map_err(silent)?? {
            return Ok(());
        }
        let job: Job = match serde_json::from_slice(&line) {
            Ok(job) => job,
            Err(error) => return Err(io::Error::other(format!("what it says cannot be read: {error}"))),
        };
        let [name] = job.attr_path.as_slice() else { continue };
        let found = found(job.drv_path.as_deref(), job.times(), job.error.map(|error| cut(error, MAX_ERROR_BYTES)));
        if let Some(found) = found
            && let Some(query) = open.remove(name.as_str())
        {
            let _ = answers.send(Answer::Found { path: query.path.clone(), found }).await;
        }
    }
}

async fn warnings(stderr: impl AsyncRead + Unpin, answers: &mpsc::Sender<Answer>) -> io::Result<()> {
    let mut reader = BufReader::new(stderr);
    let (mut line, mut warnings) = (Vec::new(), Warnings::default());
    while read_line(&mut reader, &mut line).await? {
        if let Some(warning) = warnings.take(String::from_utf8_lossy(&line).trim_end()) {
            let _ = answers.send(Answer::Warning(warning)).await;
        }
    }
    Ok(())
}

/// The next line; false when there is none.
async fn read_line(reader: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    Ok(reader.take(MAX_LINE_BYTES).read_until(b'\n', line).await? > 0)
}
