use std::collections::{HashMap, HashSet, VecDeque};

use gradient_domain::{BuildId, EvaluationId};
use gradient_storage::{Conn, builds, evaluations};
use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};
use uuid::Uuid;

use super::{Cursor, Cut, next};
use crate::{Change, Engine, EngineError};

/// How many builds are looked up at a time.
const PAGE: i64 = 500;

/// How many builds of other evaluations are remembered to be that.
const MAX_STRANGERS: usize = 10_000;

/// One line of an evaluation's merged log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The derivation's name.
    pub build: String,
    /// The line, without its end. One of more than 64 KiB comes in parts.
    pub line: String,
}

/// Follows all builds of an evaluation.
#[derive(Debug)]
pub(super) struct EvaluationLog {
    engine: Engine,
    changes: Receiver<Change>,
    evaluation: EvaluationId,
    /// The builds that have begun and not been read to their end.
    cursors: HashMap<BuildId, Cursor>,
    /// Those that have.
    done: HashSet<BuildId>,
    /// Builds that do not belong to the evaluation, as far as is known.
    strangers: HashSet<BuildId>,
    /// Builds that may have something new.
    queue: VecDeque<BuildId>,
    /// The last build that was looked up, while all of them are.
    looked_up: Option<BuildId>,
    ended: bool,
}

impl EvaluationLog {
    pub(super) fn new(engine: Engine, evaluation: EvaluationId) -> Self {
        Self {
            changes: engine.changes().follow(),
            engine,
            evaluation,
            cursors: HashMap::new(),
            done: HashSet::new(),
            strangers: HashSet::new(),
            queue: VecDeque::new(),
            looked_up: Some(BEGINNING),
            ended: false,
        }
    }

    /// The next lines, all of one build; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<LogLine>>, EngineError> {
        loop {
            self.hear().await?;
            if let Some(build) = self.queue.pop_front() {
                let lines = self.read(build).await?;
                if !lines.is_empty() {
                    return Ok(Some(lines));
                }
            } else if let Some(last) = self.looked_up {
                self.look_up(last).await?;
            } else if self.ended {
                return Ok(None);
            } else {
                match next(&self.engine, &mut self.changes).await {
                    Ok(change) => self.note(change).await?,
                    Err(RecvError::Lagged(_)) => self.looked_up = Some(BEGINNING),
                    Err(RecvError::Closed) => return Ok(None),
                }
            }
        }
    }

    /// Takes note of what has changed meanwhile: a build that prints on and on keeps nobody from being heard.
    async fn hear(&mut self) -> Result<(), EngineError> {
        loop {
            match self.changes.try_recv() {
                Ok(change) => self.note(change).await?,
                Err(TryRecvError::Lagged(_)) => self.looked_up = Some(BEGINNING),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn note(&mut self, change: Change) -> Result<(), EngineError> {
        match change {
            Change::Log(build) | Change::Build(build) => {
                if !self.done.contains(&build) && self.is_ours(build).await? {
                    self.enqueue(build);
                }
            }
            Change::Evaluation(evaluation) if evaluation == self.evaluation => {
                // It may have got builds that others had before.
                self.strangers.clear();
                if self.has_ended().await? {
                    self.looked_up = Some(BEGINNING);
                }
            }
            Change::Evaluation(_) => {}
        }
        Ok(())
    }

    async fn is_ours(&mut self, build: BuildId) -> Result<bool, EngineError> {
        if self.cursors.contains_key(&build) {
            return Ok(true);
        }
        if self.strangers.contains(&build) {
            return Ok(false);
        }
        let evaluation = self.evaluation;
        let needs = async move |conn: &mut Conn| evaluations::needs(conn, evaluation, build).await;
        let is_ours = self.engine.storage().read(needs).await?;
        if !is_ours {
            if self.strangers.len() >= MAX_STRANGERS {
                self.strangers.clear();
            }
            self.strangers.insert(build);
        }
        Ok(is_ours)
    }

    fn enqueue(&mut self, build: BuildId) {
        self.cursors.entry(build).or_insert_with(|| Cursor::new(build));
        if !self.queue.contains(&build) {
            self.queue.push_back(build);
        }
    }

    /// Finds the next builds that have begun. When the evaluation had ended before the first of them, there are no others.
    async fn look_up(&mut self, last: BuildId) -> Result<(), EngineError> {
        if last == BEGINNING {
            self.ended = self.has_ended().await?;
        }
        let evaluation = self.evaluation;
        let begun = async move |conn: &mut Conn| evaluations::begun_builds(conn, evaluation, last, PAGE).await;
        let page = self.engine.storage().read(begun).await?;
        self.looked_up = page.last().copied();
        for build in page {
            if !self.done.contains(&build) {
                self.enqueue(build);
            }
        }
        Ok(())
    }

    async fn has_ended(&self) -> Result<bool, EngineError> {
        let evaluation = self.evaluation;
        let find = async move |conn: &mut Conn| evaluations::find(conn, evaluation).await;
        Ok(self.engine.storage().read(find).await?.status.is_final())
    }

    async fn read(&mut self, build: BuildId) -> Result<Vec<LogLine>, EngineError> {
        let Some(cursor) = self.cursors.get_mut(&build) else { return Ok(Vec::new()) };
        let step = cursor.advance(&self.engine, Cut::Lines).await?;
        if step.bytes.is_empty() {
            if step.ended {
                self.cursors.remove(&build);
                self.done.insert(build);
            }
            return Ok(Vec::new());
        }
        // One that has ended is read to its end, the others take turns.
        if step.ended {
            self.queue.push_front(build);
        } else {
            self.queue.push_back(build);
        }
        let name = self.engine.storage().read(async move |conn: &mut Conn| builds::name(conn, build).await).await?;
        let line = |bytes: &[u8]| LogLine {
            build: name.clone(),
            line: String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']).to_owned(),
        };
        Ok(step.bytes.split_inclusive(|byte| *byte == b'\n').map(line).collect())
    }
}

/// Before all builds.
const BEGINNING: BuildId = BuildId::from_uuid(Uuid::nil());
