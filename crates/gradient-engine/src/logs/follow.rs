//! Logs as they grow: what is stored first, then what comes, until the build or the evaluation ends.

use std::collections::HashMap;

use futures_util::stream::{self, Stream};
use gradient_domain::{BuildId, Epoch, EvaluationId};
use gradient_storage::{Conn, attempts, builds, evaluations};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{Change, Engine, EngineError};

/// Bytes read at a time.
const STEP: u64 = 64 << 10;

/// One line of an evaluation's merged log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The derivation's name.
    pub build: String,
    /// The line, without its end.
    pub line: String,
}

impl Engine {
    /// The log of a build's newest attempt in pieces: what is stored, then what comes. Ends with the build. A build that is
    /// tried again goes on with the new attempt's log.
    pub fn follow_log(&self, build: BuildId) -> impl Stream<Item = Result<Vec<u8>, EngineError>> + use<> {
        let follower = BuildLog { engine: self.clone(), changes: self.changes().follow(), cursor: Cursor::new(build) };
        stream::try_unfold(follower, async |mut follower: BuildLog| Ok(follower.next().await?.map(|bytes| (bytes, follower))))
    }

    /// The logs of all builds of an evaluation, line by line, until it ends.
    pub fn follow_evaluation(&self, evaluation: EvaluationId) -> impl Stream<Item = Result<Vec<LogLine>, EngineError>> + use<> {
        let log = EvaluationLog {
            engine: self.clone(),
            changes: self.changes().follow(),
            evaluation,
            cursors: HashMap::new(),
            dirty: Vec::new(),
            ended: false,
        };
        stream::try_unfold(log, async |mut log: EvaluationLog| Ok(log.next().await?.map(|lines| (lines, log))))
    }
}

/// How far a build's log has been read.
#[derive(Debug)]
struct Cursor {
    build: BuildId,
    attempt: Epoch,
    offset: u64,
}

impl Cursor {
    const fn new(build: BuildId) -> Self {
        Self { build, attempt: Epoch::NONE, offset: 0 }
    }

    /// The next bytes, or none when all there is has been read.
    async fn advance(&mut self, engine: &Engine) -> Result<Vec<u8>, EngineError> {
        loop {
            let (build, attempt) = (self.build, self.attempt);
            let (current, next) = engine
                .storage()
                .read(async move |conn: &mut Conn| {
                    let current =
                        if attempt == Epoch::NONE { None } else { attempts::lookup(conn, build, Some(attempt)).await? };
                    let next = attempts::next(conn, build, attempt).await?;
                    Ok((current, next))
                })
                .await?;
            if let Some(current) = current {
                let part = engine.attempt_log(&current, self.offset, STEP).await?;
                if !part.bytes.is_empty() {
                    self.offset += u64::try_from(part.bytes.len()).unwrap_or(0);
                    return Ok(part.bytes);
                }
            }
            match next {
                Some(next) => (self.attempt, self.offset) = (next.epoch, 0),
                None => return Ok(Vec::new()),
            }
        }
    }
}

struct BuildLog {
    engine: Engine,
    changes: Receiver<Change>,
    cursor: Cursor,
}

impl BuildLog {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, EngineError> {
        loop {
            let build = self.cursor.build;
            // Asked before reading: what comes before the end is read after it.
            let ended =
                self.engine.storage().read(async move |conn: &mut Conn| builds::find(conn, build).await).await?.status.is_final();
            let bytes = self.cursor.advance(&self.engine).await?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
            if ended
                || !wait(
                    &self.engine,
                    &mut self.changes,
                    |change| matches!(change, Change::Log(b) | Change::Build(b) if b == build),
                )
                .await
            {
                return Ok(None);
            }
        }
    }
}

/// Waits for a change that matters; false when the server is going down.
async fn wait(engine: &Engine, changes: &mut Receiver<Change>, matters: impl Fn(Change) -> bool) -> bool {
    loop {
        match next(engine, changes).await {
            Ok(change) if matters(change) => return true,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return true,
            Err(RecvError::Closed) => return false,
        }
    }
}

/// The next change; `Closed` when the server is going down.
async fn next(engine: &Engine, changes: &mut Receiver<Change>) -> Result<Change, RecvError> {
    tokio::select! {
        change = changes.recv() => change,
        () = engine.stopped() => Err(RecvError::Closed),
    }
}

/// Follows all builds of an evaluation.
#[derive(Debug)]
struct EvaluationLog {
    engine: Engine,
    changes: Receiver<Change>,
    evaluation: EvaluationId,
    cursors: HashMap<BuildId, NamedCursor>,
    /// Builds that may have something new.
    dirty: Vec<BuildId>,
    ended: bool,
}

#[derive(Debug)]
struct NamedCursor {
    name: String,
    cursor: Cursor,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
}

impl EvaluationLog {
    async fn next(&mut self) -> Result<Option<Vec<LogLine>>, EngineError> {
        if self.cursors.is_empty() {
            self.refresh().await?;
        }
        loop {
            while let Some(build) = self.dirty.last().copied() {
                let lines = self.read(build).await?;
                if !lines.is_empty() {
                    return Ok(Some(lines));
                }
                self.dirty.pop();
            }
            if self.ended {
                return Ok(None);
            }
            match next(&self.engine, &mut self.changes).await {
                Ok(Change::Log(build) | Change::Build(build)) => {
                    if self.cursors.contains_key(&build) && !self.dirty.contains(&build) {
                        self.dirty.push(build);
                    }
                }
                Ok(Change::Evaluation(evaluation)) if evaluation == self.evaluation => self.refresh().await?,
                Ok(Change::Evaluation(_)) => {}
                Err(RecvError::Lagged(_)) => self.refresh().await?,
                Err(RecvError::Closed) => return Ok(None),
            }
        }
    }

    /// Learns of new builds, and whether the evaluation has ended; then everything is looked at once more.
    async fn refresh(&mut self) -> Result<(), EngineError> {
        let evaluation = self.evaluation;
        let (status, builds) = self
            .engine
            .storage()
            .read(async move |conn: &mut Conn| {
                let status = evaluations::find(conn, evaluation).await?.status;
                Ok((status, evaluations::build_names(conn, evaluation).await?))
            })
            .await?;
        self.ended = status.is_final();
        for (build, name) in builds {
            self.cursors.entry(build).or_insert_with(|| NamedCursor { name, cursor: Cursor::new(build), rest: Vec::new() });
        }
        self.dirty = self.cursors.keys().copied().collect();
        Ok(())
    }

    async fn read(&mut self, build: BuildId) -> Result<Vec<LogLine>, EngineError> {
        let Some(named) = self.cursors.get_mut(&build) else { return Ok(Vec::new()) };
        loop {
            let bytes = named.cursor.advance(&self.engine).await?;
            if bytes.is_empty() {
                // The last line of an ended evaluation need not end in a line feed.
                let rest = if self.ended { std::mem::take(&mut named.rest) } else { Vec::new() };
                return Ok(if rest.is_empty() { Vec::new() } else { vec![named.line(&rest)] });
            }
            let lines = named.take_lines(&bytes);
            if !lines.is_empty() {
                return Ok(lines);
            }
        }
    }
}

impl NamedCursor {
    fn line(&self, bytes: &[u8]) -> LogLine {
        LogLine { build: self.name.clone(), line: String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']).to_owned() }
    }

    fn take_lines(&mut self, bytes: &[u8]) -> Vec<LogLine> {
        self.rest.extend_from_slice(bytes);
        // A line without an end is cut rather than kept in memory for ever.
        let complete = match self.rest.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if self.rest.len() > 64 << 10 => self.rest.len(),
            None => return Vec::new(),
        };
        let text: Vec<u8> = self.rest.drain(..complete).collect();
        text.split_inclusive(|byte| *byte == b'\n').map(|line| self.line(line)).collect()
    }
}
