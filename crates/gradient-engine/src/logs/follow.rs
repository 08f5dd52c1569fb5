//! Logs as they grow: what is stored first, then what comes, until the build or the evaluation ends.
//!
//! A follower keeps no bytes: it remembers how far it has read, and what it cannot pass on yet, such as half a line, it reads
//! again. So however slow the reader is and however many builds there are, a follower takes little memory, and it runs only
//! while it is asked for more.

mod cursor;
mod evaluation;

use futures_util::stream::{self, Stream};
use gradient_domain::{BuildId, EvaluationId};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use self::{
    cursor::{Cursor, Cut},
    evaluation::EvaluationLog,
};
use crate::{Change, Engine, EngineError};

pub use evaluation::LogLine;

impl Engine {
    /// The log of a build's newest attempt in pieces: what is stored, then what comes. Ends with the build. A build that is
    /// tried again goes on with the new attempt's log. No piece ends within a character.
    pub fn follow_log(&self, build: BuildId) -> impl Stream<Item = Result<Vec<u8>, EngineError>> + use<> {
        let follower = BuildLog { engine: self.clone(), changes: self.changes().follow(), cursor: Cursor::new(build) };
        stream::try_unfold(follower, async |mut follower: BuildLog| Ok(follower.next().await?.map(|bytes| (bytes, follower))))
    }

    /// How many streams follow something now.
    pub fn followers(&self) -> usize {
        self.changes().followers()
    }

    /// The logs of all builds of an evaluation, line by line, until it ends.
    pub fn follow_evaluation(&self, evaluation: EvaluationId) -> impl Stream<Item = Result<Vec<LogLine>, EngineError>> + use<> {
        let log = EvaluationLog::new(self.clone(), evaluation);
        stream::try_unfold(log, async |mut log: EvaluationLog| Ok(log.next().await?.map(|lines| (lines, log))))
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
            let step = self.cursor.advance(&self.engine, Cut::Characters).await?;
            if !step.bytes.is_empty() {
                return Ok(Some(step.bytes));
            }
            if step.ended || !self.wait().await {
                return Ok(None);
            }
        }
    }

    /// Waits for a change that matters; false when the server is going down.
    async fn wait(&mut self) -> bool {
        let build = self.cursor.build();
        loop {
            match next(&self.engine, &mut self.changes).await {
                Ok(Change::Log(changed) | Change::Build(changed)) if changed == build => return true,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return true,
                Err(RecvError::Closed) => return false,
            }
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
