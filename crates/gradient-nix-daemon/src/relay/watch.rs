//! What a store says of the builders that it runs for an evaluator, as it passes by.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use gradient_nix::StorePath;
use tokio::sync::mpsc;

use super::shape::{self, Value};
use crate::{
    Event,
    event::{self, BUILD_LOG_LINE, POST_BUILD_LOG_LINE},
};

/// How much is kept of what a store says of a failure.
const MAX_REASON_BYTES: usize = 16 << 10;

/// Something that is to be told of a builder that a store runs for an evaluator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayedBuild {
    /// It has begun.
    Began {
        /// Its number; no other builder of this process has it.
        run: u64,
        /// Its derivation.
        derivation: StorePath,
    },
    /// It has printed a line.
    Printed {
        /// Its number.
        run: u64,
        /// The line, without its end.
        line: Vec<u8>,
    },
    /// It has ended.
    Ended {
        /// Its number.
        run: u64,
        /// Why there are no outputs, in the store's words.
        outcome: Result<(), String>,
        /// How long it ran.
        took: Duration,
    },
    /// Its evaluator has left before it has ended, so the store stops it.
    Left {
        /// Its number.
        run: u64,
    },
}

/// The builders of one operation, by the numbers of their activities.
pub(super) struct Watch {
    told: mpsc::Sender<RelayedBuild>,
    runs: BTreeMap<u64, Run>,
}

/// A builder that has begun.
pub(super) struct Run {
    number: u64,
    pub(super) derivation: StorePath,
    began: Instant,
    took: Option<Duration>,
    reason: Option<String>,
}

impl Run {
    fn new(derivation: StorePath) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        Self { number, derivation, began: Instant::now(), took: None, reason: None }
    }
}

impl Watch {
    pub(super) fn new(told: mpsc::Sender<RelayedBuild>) -> Self {
        Self { told, runs: BTreeMap::new() }
    }

    /// Hears a message of this kind that is no end.
    pub(super) async fn hear(&mut self, kind: u64, values: &[Value]) {
        match (kind, values) {
            (event::START_ACTIVITY, [Value::Number(activity), _, Value::Number(Event::BUILD), _, details, _]) => {
                let Some(derivation) = details.first_text().and_then(shape::path).filter(StorePath::is_derivation) else {
                    return;
                };
                let run = Run::new(derivation.clone());
                self.tell(RelayedBuild::Began { run: run.number, derivation }).await;
                self.runs.insert(*activity, run);
            }
            (event::RESULT, [Value::Number(activity), Value::Number(BUILD_LOG_LINE | POST_BUILD_LOG_LINE), details]) => {
                if let (Some(run), Some(line)) = (self.runs.get(activity), details.first_text()) {
                    self.tell(RelayedBuild::Printed { run: run.number, line: line.to_vec() }).await;
                }
            }
            (event::STOP_ACTIVITY, [Value::Number(activity)]) => {
                if let Some(run) = self.runs.get_mut(activity) {
                    run.took = Some(run.began.elapsed());
                }
            }
            // What fails while something else waits for it is told at once, and not with the error in the end.
            (event::NEXT, [Value::Text(text)]) => self.explain(text),
            _ => {}
        }
    }

    /// Keeps what a store says of a builder: the last that it says is why it failed.
    pub(super) fn explain(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for run in self.runs.values_mut().filter(|run| text.contains(&run.derivation.to_absolute())) {
            let plain = event::without_colours(&text);
            let end = plain.floor_char_boundary(MAX_REASON_BYTES);
            run.reason = Some(plain.get(..end).unwrap_or_default().trim().to_owned());
        }
    }

    /// The next one of those that have begun, when the operation is over.
    pub(super) fn next(&mut self) -> Option<Run> {
        self.runs.pop_first().map(|(_, run)| run)
    }

    pub(super) async fn end(&self, run: Run, has_outputs: bool) {
        let took = run.took.unwrap_or_else(|| run.began.elapsed());
        let reason = run.reason.unwrap_or_else(|| "it was not built".to_owned());
        let outcome = if has_outputs { Ok(()) } else { Err(reason) };
        self.tell(RelayedBuild::Ended { run: run.number, outcome, took }).await;
    }

    /// The evaluator has left.
    pub(super) async fn leave(self) {
        for run in self.runs.values() {
            self.tell(RelayedBuild::Left { run: run.number }).await;
        }
    }

    async fn tell(&self, news: RelayedBuild) {
        // Nobody listens any more only when the evaluation ends.
        let _ = self.told.send(news).await;
    }
}
