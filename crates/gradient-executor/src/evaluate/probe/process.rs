//! One evaluator process, followed line by line.

use std::{collections::BTreeSet, io, process::Stdio, time::Duration};

use gradient_domain::{Failure, FailureKind};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::Command,
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

use super::{
    super::{
        evaluator::{Answer, Found, Query},
        limits::in_words,
    },
    Described, MAX_ERROR_BYTES, memory,
};
use crate::{EvaluationLimits, job::failure, process};

/// How long an explanation may take.
const EXPLANATION_TIME: Duration = Duration::from_mins(2);

/// The longest line that is read as one: the names of a very large set.
const MAX_LINE_BYTES: u64 = 32 << 20;

/// How many different warnings of one process are told.
const MAX_WARNINGS: usize = 50;

/// How far a process came.
#[derive(Debug)]
pub(super) struct Ended {
    /// How many queries it answered.
    pub(super) answered: usize,
    /// How it ended.
    pub(super) ending: Ending,
}

/// How a process ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// It answered everything.
    Complete,
    /// It came to a query that is somebody else's, and was ended.
    Met,
    /// The flake itself does not evaluate.
    Early(String),
    /// The attribute it was at is an error that cannot be caught.
    Error(String),
    /// Something ended it while it was at an attribute: memory, a signal, time.
    Killed(String),
}

/// Runs an evaluator within its limits and passes its answers on.
pub(super) async fn run(
    mut command: Command,
    limits: &EvaluationLimits,
    expression: String,
    mark: &str,
    queries: &[&Query],
    claim: &(dyn Fn(usize) -> bool + Sync),
    answers: &mpsc::Sender<Answer>,
) -> Result<Ended, Failure> {
    let program = process::name(&command);
    let lost = |error: io::Error| failure(FailureKind::Transient, format!("cannot run `{program}`: {error}"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(lost)?;
    let (Some(stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
        return Err(failure(FailureKind::Transient, format!("cannot speak with `{program}`")));
    };
    memory::volunteer(child.id());
    let attribute_time = limits.attribute_time;
    let mut follower = Follower {
        mark,
        queries,
        claim,
        answers,
        ready: false,
        answered: 0,
        until: Instant::now() + attribute_time,
        attribute_time,
        said: Vec::new(),
        warnings: Warnings::default(),
    };
    // An evaluator that fails early closes its input; why it did is in its error output.
    let following = async { tokio::join!(process::feed(stdin, expression.into_bytes()), follower.follow(stderr)).1 };
    let way = tokio::select! {
        way = following => way.map_err(lost)?,
        () = memory::exceeded(child.id(), limits.memory_bytes) => Followed::TooLarge,
    };
    match way {
        Followed::ToTheEnd => {}
        Followed::ToAnothers => {
            child.kill().await.map_err(lost)?;
            return Ok(Ended { answered: follower.answered, ending: Ending::Met });
        }
        Followed::TooLarge => {
            child.kill().await.map_err(lost)?;
            let limit = limits.memory_bytes.unwrap_or_default() >> 20;
            return Ok(follower.ended(Ending::Killed, format!("it needs more memory to evaluate than {limit} MiB")));
        }
        Followed::TooSlow => {
            child.kill().await.map_err(lost)?;
            return Ok(follower.ended(Ending::Killed, format!("it does not evaluate within {}", in_words(attribute_time))));
        }
    }
    let status = child.wait().await.map_err(lost)?;
    if status.success() && follower.answered == queries.len() {
        return Ok(Ended { answered: follower.answered, ending: Ending::Complete });
    }
    let said = follower.error();
    let killed = status.code().is_none_or(|code| code != 1) || said.contains("ut of memory") || said.contains("bad_alloc");
    let error = if said.is_empty() { format!("the evaluator ended with {status}") } else { said };
    Ok(follower.ended(if killed { Ending::Killed } else { Ending::Error }, error))
}

/// The error that an expression ends with.
pub(super) async fn error_of(mut command: Command, expression: String) -> Option<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().ok()?;
    let (stdin, stderr) = (child.stdin.take()?, child.stderr.take()?);
    let mut follower = Follower {
        mark: "",
        queries: &[],
        claim: &|_| true,
        answers: &mpsc::channel(1).0,
        ready: true,
        answered: 0,
        until: Instant::now() + EXPLANATION_TIME,
        attribute_time: EXPLANATION_TIME,
        said: Vec::new(),
        warnings: Warnings::default(),
    };
    let both = async { tokio::join!(process::feed(stdin, expression.into_bytes()), follower.follow(stderr)).1 };
    timeout(EXPLANATION_TIME, both).await.ok()?.ok()?;
    Some(follower.error()).filter(|error| !error.is_empty())
}

/// How far a process was followed.
enum Followed {
    /// Until it said nothing more.
    ToTheEnd,
    /// Until it came to a query that is somebody else's.
    ToAnothers,
    /// Until an attribute took too long.
    TooSlow,
    /// Until it had too much memory.
    TooLarge,
}

struct Follower<'a> {
    mark: &'a str,
    queries: &'a [&'a Query],
    claim: &'a (dyn Fn(usize) -> bool + Sync),
    answers: &'a mpsc::Sender<Answer>,
    ready: bool,
    answered: usize,
    /// When the attribute that it is at has to be evaluated.
    until: Instant,
    attribute_time: Duration,
    /// The end of what was said since the last answer.
    said: Vec<u8>,
    warnings: Warnings,
}

/// The warnings of one process, each once.
#[derive(Debug, Default)]
pub(in super::super) struct Warnings(BTreeSet<String>);

impl Warnings {
    /// What a line warns of, when that is to be told.
    pub(in super::super) fn take(&mut self, line: &str) -> Option<String> {
        let warning = line.strip_prefix("trace: ").unwrap_or(line);
        let warning = warning.strip_prefix("evaluation warning: ").or_else(|| line.strip_prefix("trace: warning: "))?;
        let warning: String = warning.chars().take(2000).collect();
        (self.0.len() < MAX_WARNINGS && self.0.insert(warning.clone())).then_some(warning)
    }
}

impl Follower<'_> {
    async fn follow(&mut self, stderr: impl AsyncRead + Unpin) -> io::Result<Followed> {
        let mut reader = BufReader::with_capacity(64 << 10, stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            let Ok(read) = timeout_at(self.until, (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)).await else {
                return Ok(Followed::TooSlow);
            };
            if read? == 0 {
                return Ok(Followed::ToTheEnd);
            }
            if !self.line(&line).await {
                return Ok(Followed::ToAnothers);
            }
        }
    }

    /// Takes a line; false when it says that a query begins that is somebody else's.
    async fn line(&mut self, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        let marked = text.strip_prefix("trace: ").and_then(|text| text.strip_prefix(self.mark)).filter(|_| !self.mark.is_empty());
        if marked.is_some() {
            self.until = Instant::now() + self.attribute_time;
        }
        match marked.map(str::trim_start) {
            Some("ready") => self.ready = true,
            Some(rest) if rest.starts_with("begin ") => {
                self.said.clear();
                let number = rest.strip_prefix("begin ").and_then(|number| number.parse().ok());
                self.skip_to(number).await;
                return number.is_none_or(|number| (self.claim)(number));
            }
            Some(rest) => self.end(rest.strip_prefix("end ").and_then(|rest| rest.split_once(' '))).await,
            None => self.keep(line, text).await,
        }
        true
    }

    /// The answer to a query.
    async fn end(&mut self, answer: Option<(&str, &str)>) {
        let Some((number, json)) = answer else { return };
        if number.parse() != Ok(self.answered) {
            return;
        }
        let found = match serde_json::from_str::<Described>(json) {
            Ok(described) => described.into_found(),
            Err(error) => Found::Fatal(format!("what the evaluator says cannot be read: {error}")),
        };
        self.answer(found).await;
    }

    /// The next query has begun; one before it without an answer has too large a one.
    async fn skip_to(&mut self, number: Option<usize>) {
        while number.is_some_and(|number| self.answered < number) && self.answered < self.queries.len() {
            self.answer(Found::Fatal("it has too many names".to_owned())).await;
        }
    }

    async fn answer(&mut self, found: Found) {
        if let Some(query) = self.queries.get(self.answered) {
            self.answered += 1;
            let _ = self.answers.send(Answer::Found { path: query.path.clone(), found }).await;
        }
    }

    async fn keep(&mut self, line: &[u8], text: &str) {
        if let Some(warning) = self.warnings.take(text) {
            let _ = self.answers.send(Answer::Warning(warning)).await;
        }
        self.said.extend_from_slice(line);
        let excess = self.said.len().saturating_sub(MAX_ERROR_BYTES);
        self.said.drain(..excess);
    }

    /// What was said since the last answer, from its first error on.
    fn error(&self) -> String {
        let said = String::from_utf8_lossy(&self.said);
        let start = said.find("error:").unwrap_or(0);
        said.get(start..).unwrap_or_default().trim().to_owned()
    }

    fn ended(&self, ending: fn(String) -> Ending, error: String) -> Ended {
        let ending = if self.ready { ending(error) } else { Ending::Early(error) };
        Ended { answered: self.answered, ending }
    }
}
